package awskms

import (
	"cmp"
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// API is the part of *kms.Client that is called here.
type API interface {
	GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error)
	Sign(context.Context, *kms.SignInput, ...func(*kms.Options)) (*kms.SignOutput, error)
}

var _ API = (*kms.Client)(nil)

// Option configures how a key is used.
type Option func(*options)

type options struct {
	name        string
	grantTokens []string
}

// Name names the key in [turret.Describe], in errors of a failover and in the
// names of breakers. The default is "kms/" and the key's Region.
func Name(name string) Option { return func(o *options) { o.name = name } }

// GrantTokens sends grant tokens with each request: the permission that a grant
// gives holds at once with its token, and otherwise only some minutes later.
func GrantTokens(tokens ...string) Option {
	return func(o *options) { o.grantTokens = slices.Clone(tokens) }
}

// New returns a provider of the key that client knows by keyID: a key id, a key
// ARN, an alias name ("alias/release") or an alias ARN. It is sent as it is.
//
// Where client is a *kms.Client with the SDK's own HTTP client, a copy of it is used
// that keeps more idle connections: 256 a host, not ten. All keys of that HTTP client
// share them. An *http.Client in it is copied as it is now, to follow no redirects.
//
// Nothing is asked of KMS, or checked, before the provider is asked for the key.
func New(client API, keyID string, opts ...Option) signer.KeyProvider {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return &provider{client: prepared(client), keyID: keyID, options: o}
}

type provider struct {
	client API
	keyID  string
	options
	refresher refresher
}

// ProvideKey asks KMS for the public half of the key.
func (p *provider) ProvideKey(ctx context.Context) (signer.Key, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	out, err := p.client.GetPublicKey(ctx, &kms.GetPublicKeyInput{
		KeyId:       &p.keyID,
		GrantTokens: p.grantTokens,
	}, perCall)
	if err == nil && out == nil {
		err = errNoAnswer
	}
	if err != nil {
		return nil, p.explain(p.keyID, "GetPublicKey", err)
	}
	return p.open(out)
}

// check finds out what is wrong before KMS can.
func (p *provider) check() error {
	if p.client == nil {
		return &signer.Error{KeyID: p.keyID, Reason: "the KMS client is nil; make one with kms.NewFromConfig"}
	}
	if p.keyID == "" {
		return &signer.Error{Reason: "the key id is empty; give a key id, a key ARN, an alias (alias/…) or an alias ARN"}
	}
	c, ok := p.client.(*kms.Client)
	switch {
	case ok && c == nil:
		return &signer.Error{KeyID: p.keyID, Reason: "the KMS client is nil; make one with kms.NewFromConfig"}
	case !ok:
		return nil
	}
	if o := c.Options(); o.Region == "" && o.BaseEndpoint == nil {
		return &signer.Error{KeyID: p.keyID, Reason: "the KMS client has no Region; set one in its configuration, in AWS_REGION, or as ?region= of a URI"}
	}
	return nil
}

// open makes a key of what KMS says of it.
func (p *provider) open(out *kms.GetPublicKeyOutput) (signer.Key, error) {
	refuse := func(format string, args ...any) error {
		return &signer.Error{KeyID: p.keyID, KeyType: plain(string(out.KeySpec)), Reason: plain(fmt.Sprintf(format, args...))}
	}
	if out.KeyUsage != types.KeyUsageTypeSignVerify {
		return nil, refuse("the key's usage is %s; a key that signs has SIGN_VERIFY, which is chosen when it is made", cmp.Or(string(out.KeyUsage), "not said"))
	}
	if aws.ToString(out.KeyId) == "" {
		return nil, refuse("KMS did not say which key it is")
	}
	if plain(*out.KeyId) != *out.KeyId {
		return nil, refuse("KMS gave a key id that is none: %s", *out.KeyId)
	}
	if !p.askedFor(*out.KeyId) {
		return nil, refuse("KMS answered for key %q instead", *out.KeyId)
	}
	spec, err := findSpec(out.KeySpec)
	if err != nil {
		return nil, refuse("%v", err)
	}
	pub, err := parsePublicKey(out.PublicKey)
	if err != nil {
		return nil, &signer.Error{
			KeyID:   p.keyID,
			KeyType: string(spec.name),
			Reason:  fmt.Sprintf("the public key that KMS gave, of spec %s, does not parse", spec.name),
			Err:     turret.WithClass(err, turret.Permanent),
		}
	}
	if err := spec.check(pub); err != nil {
		return nil, refuse("%v", err)
	}
	algorithms, err := spec.choose(out.SigningAlgorithms)
	if err != nil {
		return nil, refuse("%v", err)
	}
	k := &key{provider: p, arn: *out.KeyId, pub: pub, algorithms: algorithms, name: p.name}
	if k.name == "" {
		k.name = "kms"
		if parsed, err := arn.Parse(k.arn); err == nil {
			k.name += "/" + parsed.Region
		}
	}
	return k, nil
}

// askedFor reports whether the key of an ARN may be the one that p asked for. What
// an alias stands for, KMS alone knows.
func (p *provider) askedFor(keyARN string) bool {
	if isAlias(p.keyID) || p.keyID == keyARN {
		return true
	}
	return !arn.IsARN(p.keyID) && strings.HasSuffix(keyARN, ":key/"+p.keyID)
}

func isAlias(keyID string) bool {
	if a, err := arn.Parse(keyID); err == nil {
		keyID = a.Resource
	}
	return strings.HasPrefix(keyID, "alias/")
}

// key is a key in KMS, by the ARN that it had when it was opened.
type key struct {
	*provider
	arn        string
	pub        crypto.PublicKey
	algorithms []signer.Algorithm
	name       string
}

var _ signer.Key = (*key)(nil)

func (k *key) Public() crypto.PublicKey       { return k.pub }
func (k *key) Algorithms() []signer.Algorithm { return k.algorithms }
func (k *key) Name() string                   { return k.name }
func (k *key) KeyID() string                  { return k.arn }
func (k *key) String() string                 { return "AWS KMS " + k.arn }

// Call asks KMS for a signature.
func (k *key) Call(ctx context.Context, req signer.Request) (signer.Response, error) {
	message, messageType, err := k.message(req)
	if err != nil {
		return signer.Response{}, err
	}
	out, err := k.client.Sign(ctx, &kms.SignInput{
		KeyId:            &k.arn,
		Message:          message,
		MessageType:      messageType,
		SigningAlgorithm: types.SigningAlgorithmSpec(req.Algorithm),
		GrantTokens:      k.grantTokens,
	}, perCall)
	if err == nil && out == nil {
		err = errNoAnswer
	}
	if err != nil {
		return signer.Response{}, k.explain(k.arn, "Sign", err)
	}
	signed := aws.ToString(out.KeyId)
	if signed == "" {
		return signer.Response{}, k.explain(k.arn, "Sign", errNoKey)
	}
	if signed != k.arn {
		return signer.Response{}, &signer.Error{
			KeyID:     k.arn,
			Algorithm: req.Algorithm,
			Reason:    fmt.Sprintf("KMS answered for key %q instead; if an alias was moved to it, build the signer anew", plain(signed)),
			Err:       turret.WithClass(signer.ErrWrongKey, turret.Permanent),
		}
	}
	return signer.Response{Signature: out.Signature, KeyID: k.arn}, nil
}
