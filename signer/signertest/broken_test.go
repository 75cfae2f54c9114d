package signertest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
)

// found collects what checks report, in place of a *testing.T.
type found struct {
	mu    sync.Mutex
	texts []string
}

func (f *found) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

// findings runs all checks, or an only one, and returns what those say that fail,
// by their names.
func findings(newSigner func() crypto.Signer, may Deviation, only string) map[string][]string {
	failed := make(map[string][]string)
	for _, c := range checks(newSigner) {
		if only != "" && only != c.name {
			continue
		}
		var f found
		c.try(&f, newSigner, may)
		if f.texts != nil {
			failed[c.name] = f.texts
		}
	}
	return failed
}

const (
	public    = "Public stays the same"
	optional  = "what it may refuse it does rightly"
	options   = "options that make no sense are refused"
	lengths   = "digests of a wrong length are refused"
	nonces    = "takes no nonce twice"
	noRand    = "no rand is no panic"
	arguments = "leaves the caller's memory alone"
	results   = "signatures share no memory"
	apart     = "keeps 64 callers apart"
	contexts  = "SignContext ends with its context"

	p256   = "signs with ECDSA_SHA_256"
	p384   = "signs with ECDSA_SHA_384"
	ed     = "signs with ED25519_SHA_512"
	rsa256 = "signs with RSASSA_PKCS1_V1_5_SHA_256"
	rsa384 = "signs with RSASSA_PKCS1_V1_5_SHA_384"
	rsa512 = "signs with RSASSA_PKCS1_V1_5_SHA_512"
	pss256 = "signs with RSASSA_PSS_SHA_256"
	pss384 = "signs with RSASSA_PSS_SHA_384"
	pss512 = "signs with RSASSA_PSS_SHA_512"
)

var allPSS = []string{pss256, pss384, pss512}

var (
	p256Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, 32)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type signFunc func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)

// fake is a good signer with a key in memory, but for what a test replaces.
type fake struct {
	key    crypto.Signer
	public func() crypto.PublicKey
	sign   signFunc
}

func (f *fake) Public() crypto.PublicKey {
	if f.public != nil {
		return f.public()
	}
	return f.key.Public()
}

func (f *fake) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if f.sign != nil {
		return f.sign(rand, digest, opts)
	}
	return f.well(rand, digest, opts)
}

var errRefused = errors.New("refused")

// well signs as it should be done.
func (f *fake) well(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if isNil(opts) {
		return nil, errRefused
	}
	h := opts.HashFunc()
	_, isPSS := opts.(*rsa.PSSOptions)
	_, isRSA := f.key.(*rsa.PrivateKey)
	_, isEd := f.key.(ed25519.PrivateKey)
	switch {
	case isPSS && !isRSA, isEd && h != 0, !isEd && h != crypto.SHA256 && h != crypto.SHA384 && h != crypto.SHA512, !isEd && len(digest) != h.Size():
		return nil, errRefused
	}
	return f.key.Sign(rand.Reader, digest, opts)
}

// The other kinds of signers.
type messageSigner struct {
	*fake
	message signFunc
}

func (s messageSigner) SignMessage(rand io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.message(rand, msg, opts)
}

type withContext struct {
	*fake
	sign func(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (s withContext) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(ctx, digest, opts)
}

type withAlgorithms struct {
	*fake
	algorithms []signer.Algorithm
}

func (s withAlgorithms) Algorithms() []signer.Algorithm { return s.algorithms }

func TestGoodSignersConform(t *testing.T) {
	ecdsaFake, rsaFake := &fake{key: p256Key()}, &fake{key: rsaKey()}
	for name, s := range map[string]crypto.Signer{
		"ECDSA P-256": ecdsaFake,
		"ECDSA P-384": &fake{key: p384Key()},
		"Ed25519":     &fake{key: edKey()},
		"RSA":         rsaFake,
		"takes messages": messageSigner{ecdsaFake, func(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
			if isNil(opts) || opts.HashFunc() == 0 || !opts.HashFunc().Available() {
				return nil, errRefused
			}
			return ecdsaFake.Sign(nil, digestOf(msg, opts), opts)
		}},
		"takes contexts": withContext{ecdsaFake, func(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("nothing was signed: %w", ctx.Err())
			}
			return ecdsaFake.Sign(nil, digest, opts)
		}},
		"has one algorithm": withAlgorithms{&fake{key: rsaKey(), sign: func(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
			if o, ok := opts.(*rsa.PSSOptions); !ok || o == nil || o.Hash != crypto.SHA512 {
				return nil, errRefused
			}
			return rsaFake.well(nil, digest, opts)
		}}, []signer.Algorithm{signer.RSASSA_PSS_SHA_512}},
		"has more than a KMS": withAlgorithms{ecdsaFake, []signer.Algorithm{signer.ECDSA_SHA_256, signer.ECDSA_SHA_384, "ECDSA_SHA3_256"}},
	} {
		t.Run(name, func(t *testing.T) { Run(t, func() crypto.Signer { return s }) })
	}
	t.Run("a fresh key each time", func(t *testing.T) {
		Run(t, func() crypto.Signer { return &fake{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} })
	})
}

// around breaks a good signer: sign has the good one to call.
func around(key crypto.Signer, sign func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error)) *fake {
	f := &fake{key: key}
	f.sign = func(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		return sign(f.well, digest, opts)
	}
	return f
}

// A brokenSigner fails the checks named, and no others. The first text has to
// contain says. With the deviations excused it fails none.
type brokenSigner struct {
	signer  func() crypto.Signer
	fails   []string
	says    string
	excused Deviation
	only    string // the only check to make: others would be data races
}

var everything = []string{public, p256, nonces, arguments, results, apart}

func brokenSigners() map[string]brokenSigner {
	return map[string]brokenSigner{
		"nil":              {signer: func() crypto.Signer { return nil }, fails: []string{public}, says: "returned no signer but nil"},
		"a nil pointer":    {signer: func() crypto.Signer { return (*fake)(nil) }, fails: []string{public}, says: "returned no signer but nil"},
		"no public key":    {signer: func() crypto.Signer { return &fake{public: func() crypto.PublicKey { return nil }} }, fails: []string{public}, says: "Public returned nil"},
		"a nil public key": {signer: func() crypto.Signer { return &fake{public: func() crypto.PublicKey { return (*rsa.PublicKey)(nil) }} }, fails: []string{public}, says: "Public returned nil"},
		"an empty RSA key": {signer: func() crypto.Signer { return &fake{public: func() crypto.PublicKey { return &rsa.PublicKey{} }} }, fails: []string{public}, says: "no key of a type known"},
		"half an Ed25519": {signer: func() crypto.Signer {
			return &fake{public: func() crypto.PublicKey { return ed25519.PublicKey("short") }}
		}, fails: []string{public}, says: "no key of a type known"},
		"a pointer to a key": {signer: func() crypto.Signer {
			return &fake{public: func() crypto.PublicKey { pub := edKey().Public().(ed25519.PublicKey); return &pub }}
		}, fails: []string{public}, says: "which is no pointer"},
		"P-224":         {signer: func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)) }, fails: []string{public}, says: "P-256, P-384 or P-521"},
		"Public panics": {signer: func() crypto.Signer { return &fake{public: func() crypto.PublicKey { panic("not connected") }} }, fails: []string{public}, says: "not connected"},
		"lists what it has not": {
			signer: func() crypto.Signer {
				return withAlgorithms{&fake{key: p256Key()}, []signer.Algorithm{signer.ED25519_SHA_512}}
			},
			fails: []string{public}, says: "an ECDSA key signs with none of them",
		},
		"Public changes": {signer: func() crypto.Signer { return changing(3) }, fails: []string{public}, says: "Public, called again, returned another key"},
		"Public changes with a signature": {
			signer: func() crypto.Signer { return changingWithSignature() }, fails: []string{public}, says: "Public, called after a signature, returned another key",
		},
		"Public changes among many callers": {signer: func() crypto.Signer { return changing(20) }, fails: []string{public}, says: "by 64 goroutines at once"},
		"Public panics later":               {signer: func() crypto.Signer { return panickingLater() }, fails: []string{public}, says: "not connected"},

		"hashes the digest": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					d := sha256.Sum256(digest)
					if isNil(opts) || opts.HashFunc() != crypto.SHA256 || len(digest) != 32 {
						return nil, errRefused
					}
					return well(nil, d[:], opts)
				})
			},
			fails: append([]string{noRand}, everything...), says: "it is one of the digest's digest",
		},
		"takes messages for text": {
			signer: func() crypto.Signer {
				return edOf(func(m []byte) []byte { return bytes.ToValidUTF8(m, []byte("\uFFFD")) })
			},
			fails: []string{public, ed, nonces, arguments, results, apart, noRand, optional}, says: "does not verify",
		},
		"trims messages": {
			signer: func() crypto.Signer { return edOf(bytes.TrimSpace) },
			fails:  []string{public, ed, nonces, arguments, results, apart, noRand, optional}, says: "does not verify",
		},
		"ends messages at a NUL": {
			signer: func() crypto.Signer {
				return edOf(func(m []byte) []byte { before, _, _ := bytes.Cut(m, []byte{0}); return before })
			},
			fails: []string{public, ed, nonces, arguments, results, apart, noRand, optional}, says: "does not verify",
		},
		"takes digests for numbers": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if len(digest) > 0 && digest[0] == 0 {
						return nil, errRefused // as a token does, of a digest short of a byte
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{p256}, says: "refused",
		},
		"changes the options": {
			signer: func() crypto.Signer {
				return around(rsaKey(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if o, ok := opts.(*rsa.PSSOptions); ok && o != nil && o.SaltLength == rsa.PSSSaltLengthAuto {
						o.SaltLength = rsa.PSSSaltLengthEqualsHash
					}
					return well(nil, digest, opts)
				})
			},
			fails: append([]string{options}, allPSS...), says: "changed the options",
		},
		"takes a nonce twice": {
			signer: func() crypto.Signer { return fixedNonce() },
			fails:  []string{nonces}, says: "the same nonce",
		},
		"takes an Ed25519 nonce twice": {
			signer: func() crypto.Signer { return fixedNonceOfEd25519() },
			fails:  []string{nonces}, says: "the same nonce",
		},
		"signs another hash": {
			signer: func() crypto.Signer {
				return around(rsaKey(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if h, ok := opts.(crypto.Hash); ok && h == crypto.SHA384 && len(digest) == h.Size() {
						return well(nil, digest[:32], crypto.SHA256)
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{rsa384, noRand, arguments, results, apart}, says: "does not verify",
		},
		"PKCS #1 for PSS": {
			signer: func() crypto.Signer {
				return around(rsaKey(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if isNil(opts) {
						return nil, errRefused
					}
					return well(nil, digest, opts.HashFunc())
				})
			},
			fails: append([]string{optional, noRand, arguments, results, apart}, allPSS...), says: "it is a PKCS #1 v1.5 signature",
		},
		"a salt of its own": {
			signer: func() crypto.Signer {
				return around(rsaKey(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if o, ok := opts.(*rsa.PSSOptions); ok && o != nil {
						opts = &rsa.PSSOptions{Hash: o.Hash, SaltLength: rsa.PSSSaltLengthEqualsHash}
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{optional}, says: "its salt is not as long as",
		},
		"compares options": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if opts != crypto.SHA256 { // panics on types that cannot be compared, and refuses all others
						return nil, errRefused
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{p256}, says: "by a struct with HashFunc",
		},
		"r and s side by side": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					sig, err := well(nil, digest, opts)
					if err != nil {
						return nil, err
					}
					var rs struct{ R, S *big.Int }
					_, err = asn1.Unmarshal(sig, &rs)
					return append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...), err
				})
			},
			fails: append([]string{optional, noRand}, everything...), says: "r and s side by side",
		},
		"refuses all": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(signFunc, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errRefused })
			},
			fails: everything, says: "has to sign that",
		},
		"refuses messages that a KMS would take": {
			signer: func() crypto.Signer {
				return around(edKey(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if len(digest) > 4095 {
						return nil, errRefused
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{ed}, says: "for 4096 bytes",
		},
		"returns nothing": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(signFunc, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil })
			},
			fails: append([]string{optional, options, lengths, noRand}, everything...), says: "neither a signature nor an error",
		},
		"returns both": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					sig, err := well(nil, digest, opts)
					if err != nil {
						return []byte("garbage"), err
					}
					return sig, nil
				})
			},
			fails: []string{optional, options, lengths}, says: "return nil with an error",
		},
		"panics on nil options": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					_ = opts.HashFunc()
					return well(nil, digest, opts)
				})
			},
			fails: []string{options}, says: "panicked with", excused: MayTrustOptions,
		},
		"takes nil options": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if opts == nil {
						opts = crypto.SHA256
					}
					return well(nil, digest, opts)
				})
			},
			fails: []string{options}, says: "nothing by nil opts", excused: MayTrustOptions,
		},
		"SignMessage panics on nil options": {
			signer: func() crypto.Signer {
				return messageSigner{&fake{key: p256Key()}, func(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
					if !opts.HashFunc().Available() {
						return nil, errRefused
					}
					return (&fake{key: p256Key()}).well(nil, digestOf(msg, opts), opts)
				}}
			},
			fails: []string{options}, says: "SignMessage, asked for nothing by nil opts, panicked", excused: MayTrustOptions,
		},
		"SignMessage signs no digest": {
			signer: func() crypto.Signer {
				return messageSigner{&fake{key: edKey()}, func(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
					d := sha256.Sum256(msg)
					return (&fake{key: edKey()}).well(nil, d[:], opts)
				}}
			},
			fails: []string{public, ed, optional, nonces, noRand, arguments, results, apart}, says: "SignMessage",
		},
		"takes any digest": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if isNil(opts) || opts.HashFunc() != crypto.SHA256 {
						return well(nil, digest, opts)
					}
					return p256Key().Sign(rand.Reader, digest, opts)
				})
			},
			fails: []string{lengths, options}, says: "a SHA-256 digest has 32 bytes", excused: MayTrustDigests | MayTrustOptions,
		},
		"pads digests": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					d := append(bytes.Clone(digest), make([]byte, 32)...)[:32]
					if len(digest) >= 32 {
						d = digest
					}
					return well(nil, d, opts)
				})
			},
			fails: []string{lengths}, says: "SHA-256 digest has 32 bytes",
		},
		"needs rand": {
			signer: func() crypto.Signer {
				f := &fake{key: p256Key()}
				f.sign = func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if _, err := io.ReadFull(rand, make([]byte, 8)); err != nil {
						return nil, err
					}
					return f.well(nil, digest, opts)
				}
				return f
			},
			fails: []string{noRand}, says: "with a nil rand", excused: MayPanicWithoutRand,
		},
		"panics where rand fails": {
			signer: func() crypto.Signer {
				f := &fake{key: p256Key()}
				f.sign = func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if rand != nil {
						_ = must(io.ReadFull(rand, make([]byte, 8)))
					}
					return f.well(nil, digest, opts)
				}
				return f
			},
			fails: []string{noRand}, says: "with a rand that fails",
		},
		"clears the digest": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					defer clear(digest)
					return well(nil, digest, opts)
				})
			},
			fails: []string{arguments}, says: "changed the bytes",
		},
		"appends to the digest": {
			signer: func() crypto.Signer {
				return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					_ = append(digest, "suffix"...)
					return well(nil, digest, opts)
				})
			},
			fails: []string{arguments}, says: "append included",
		},
		"SignMessage changes the message": {
			signer: func() crypto.Signer {
				return messageSigner{&fake{key: p256Key()}, func(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
					if isNil(opts) || !opts.HashFunc().Available() {
						return nil, errRefused
					}
					defer clear(msg)
					return (&fake{key: p256Key()}).well(nil, digestOf(msg, opts), opts)
				}}
			},
			fails: []string{arguments}, says: "SignMessage",
		},
		"keeps the digest":            {signer: func() crypto.Signer { return keepingTheDigest() }, fails: []string{arguments}, says: "keeps a copy"},
		"hands out what it remembers": {signer: func() crypto.Signer { return sharingSignatures() }, fails: []string{results}, says: "returns copies"},
		"has one buffer for all":      {signer: func() crypto.Signer { return oneBuffer() }, fails: []string{results}, says: "wrote over the signature", only: results},
		"two signatures in one array": {signer: func() crypto.Signer { return oneArray() }, fails: []string{results}, says: "no capacity left"},
		"mixes callers up":            {signer: func() crypto.Signer { return crossTalk() }, fails: []string{apart}, says: "what belongs to one call is no field"},
		"bears one caller":            {signer: func() crypto.Signer { return oneCaller() }, fails: []string{apart}, says: "callers wait"},
		"ignores its context": {
			signer: func() crypto.Signer {
				return withContext{&fake{key: p256Key()}, func(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					return (&fake{key: p256Key()}).well(nil, digest, opts)
				}}
			},
			fails: []string{contexts}, says: `errors.Is finds "context canceled"`,
		},
		"hides its context's error": {
			signer: func() crypto.Signer {
				return withContext{&fake{key: p256Key()}, func(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if ctx.Err() != nil {
						return nil, errRefused
					}
					return (&fake{key: p256Key()}).well(nil, digest, opts)
				}}
			},
			fails: []string{contexts}, says: "refused",
		},
		"SignContext refuses all": {
			signer: func() crypto.Signer {
				return withContext{&fake{key: p256Key()}, func(ctx context.Context, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
					return nil, context.Cause(canceled)
				}}
			},
			fails: []string{contexts}, says: "context canceled",
		},
		"signs with fewer than it lists": {
			signer: func() crypto.Signer {
				return withAlgorithms{around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
					if isNil(opts) || opts.HashFunc() != crypto.SHA256 {
						return nil, errRefused
					}
					return well(nil, digest, opts)
				}), []signer.Algorithm{signer.ECDSA_SHA_256, signer.ECDSA_SHA_384}}
			},
			fails: []string{p384, nonces, arguments, results, apart}, says: "has to sign that",
		},
	}
}

// edOf signs what becomes of messages.
func edOf(becomes func([]byte) []byte) crypto.Signer {
	return around(edKey(), func(well signFunc, message []byte, opts crypto.SignerOpts) ([]byte, error) {
		return well(nil, becomes(message), opts)
	})
}

// fixedNonce signs all with one nonce, which is another private key.
func fixedNonce() crypto.Signer {
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		if isNil(opts) || opts.HashFunc() != crypto.SHA256 {
			return nil, errRefused
		}
		if _, err := well(nil, digest, opts); err != nil {
			return nil, err
		}
		nonce := must(ecdh.P256().NewPrivateKey(bytes.Repeat([]byte{7}, 32)))
		n, k := elliptic.P256().Params().N, new(big.Int).SetBytes(nonce.Bytes())
		r := new(big.Int).SetBytes(nonce.PublicKey().Bytes()[1:33])
		s := new(big.Int).SetBytes(must(p256Key().Bytes()))
		s.Mul(s, r).Add(s, new(big.Int).SetBytes(digest)).Mul(s, k.ModInverse(k, n)).Mod(s, n)
		return asn1.Marshal(struct{ R, S *big.Int }{r, s})
	})
}

// fixedNonceOfEd25519 does so with an Ed25519 key.
func fixedNonceOfEd25519() crypto.Signer {
	scalar := func(key ed25519.PrivateKey) *big.Int {
		h := sha512.Sum512(key.Seed())
		h[0] &= 248
		h[31] = h[31]&63 | 64
		slices.Reverse(h[:32])
		return new(big.Int).SetBytes(h[:32])
	}
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	nonce := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	r := nonce.Public().(ed25519.PublicKey)
	return around(edKey(), func(well signFunc, message []byte, opts crypto.SignerOpts) ([]byte, error) {
		if o, ok := opts.(*ed25519.Options); ok && (o == nil || o.Context != "") {
			return nil, errRefused
		}
		if _, err := well(nil, message, opts); err != nil {
			return nil, err
		}
		h := sha512.Sum512(slices.Concat(r, edKey().Public().(ed25519.PublicKey), message))
		slices.Reverse(h[:])
		s := new(big.Int).SetBytes(h[:])
		s.Mul(s, scalar(edKey())).Add(s, scalar(nonce)).Mod(s, order)
		le := s.FillBytes(make([]byte, 32))
		slices.Reverse(le)
		return slices.Concat(r, le), nil
	})
}

// canceled has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// changing has another public key at the n-th look, and at no other.
func changing(n int64) crypto.Signer {
	var looks atomic.Int64
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return &fake{key: p256Key(), public: func() crypto.PublicKey {
		if looks.Add(1) == n {
			return &other.PublicKey
		}
		return &p256Key().PublicKey
	}}
}

func changingWithSignature() crypto.Signer {
	var signed atomic.Bool
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	f := around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		signed.Store(true)
		return well(nil, digest, opts)
	})
	f.public = func() crypto.PublicKey {
		if signed.Load() {
			return &other.PublicKey
		}
		return &p256Key().PublicKey
	}
	return f
}

func panickingLater() crypto.Signer {
	var looks atomic.Int64
	return &fake{key: p256Key(), public: func() crypto.PublicKey {
		if looks.Add(1) == 3 {
			panic("not connected")
		}
		return &p256Key().PublicKey
	}}
}

// keepingTheDigest remembers its last signature, by a slice of the caller's.
func keepingTheDigest() crypto.Signer {
	var mu sync.Mutex
	var last, lastSig []byte
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if last != nil && bytes.Equal(last, digest) {
			return bytes.Clone(lastSig), nil
		}
		sig, err := well(nil, digest, opts)
		if err == nil {
			last, lastSig = digest, bytes.Clone(sig)
		}
		return sig, err
	})
}

// sharingSignatures remembers all its signatures, and hands them out.
func sharingSignatures() crypto.Signer {
	var mu sync.Mutex
	all := make(map[string][]byte)
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if sig := all[string(digest)]; sig != nil {
			return sig, nil
		}
		sig, err := well(nil, digest, opts)
		if err == nil {
			all[string(digest)] = sig
		}
		return sig, err
	})
}

// oneBuffer has one buffer for all signatures.
func oneBuffer() crypto.Signer {
	var buf [256]byte
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		sig, err := well(nil, digest, opts)
		return buf[:copy(buf[:], sig)], err
	})
}

// oneArray has a place of its own for each signature, in one array.
func oneArray() crypto.Signer {
	var mu sync.Mutex
	array := make([]byte, 0, 1<<20)
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		sig, err := well(nil, digest, opts)
		mu.Lock()
		defer mu.Unlock()
		array = append(array, sig...)
		return array[len(array)-len(sig):], err
	})
}

// crossTalk has the digest in a field, under a lock, and waits there a little for
// the next caller's.
func crossTalk() crypto.Signer {
	var mu sync.Mutex
	var current []byte
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		mu.Lock()
		current = bytes.Clone(digest)
		for range 1000 {
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			if !bytes.Equal(current, digest) {
				break
			}
		}
		digest = current
		mu.Unlock()
		return well(nil, digest, opts)
	})
}

// oneCaller refuses all but one at a time, and waits a little for a second.
func oneCaller() crypto.Signer {
	var callers atomic.Int64
	return around(p256Key(), func(well signFunc, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		defer callers.Add(-1)
		if callers.Add(1) > 1 {
			return nil, errRefused
		}
		for range 1000 {
			runtime.Gosched()
			if callers.Load() > 1 {
				break
			}
		}
		return well(nil, digest, opts)
	})
}

func TestBrokenSignersAreFound(t *testing.T) {
	for name, tc := range brokenSigners() {
		t.Run(name, func(t *testing.T) {
			failed := findings(tc.signer, 0, tc.only)
			for check, texts := range failed {
				t.Logf("%s → %s", check, strings.Join(texts, "\n"))
			}
			require.ElementsMatch(t, tc.fails, slices.Collect(maps.Keys(failed)))
			require.Contains(t, failed[tc.fails[0]][0], tc.says)
			if tc.excused != 0 {
				require.Empty(t, findings(tc.signer, tc.excused, tc.only))
			}
		})
	}
}
