package awskms

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// meaning is what an error code of KMS means, and what to do about it.
type meaning struct {
	class  turret.Class
	reason string
}

const accessDenied = "access denied; the key's policy, or the caller's, must allow"

var expired = meaning{turret.Transient, "the credentials have expired; new ones are asked for"}

var meanings = map[string]meaning{
	"ThrottlingException":                 {turret.Throttled, "over quota"},
	"Throttling":                          {turret.Throttled, "over quota"},
	"ThrottledException":                  {turret.Throttled, "over quota"},
	"RequestThrottled":                    {turret.Throttled, "over quota"},
	"RequestThrottledException":           {turret.Throttled, "over quota"},
	"RequestLimitExceeded":                {turret.Throttled, "over quota"},
	"TooManyRequestsException":            {turret.Throttled, "over quota"},
	"LimitExceededException":              {turret.Throttled, "over quota"},
	"SlowDown":                            {turret.Throttled, "over quota"},
	"DependencyTimeoutException":          {turret.Transient, "KMS timed out inside"},
	"KMSInternalException":                {turret.Transient, "KMS failed inside"},
	"InternalFailure":                     {turret.Transient, "KMS failed inside"},
	"InternalServerError":                 {turret.Transient, "KMS failed inside"},
	"ServiceUnavailable":                  {turret.Transient, "KMS is unavailable"},
	"ServiceUnavailableException":         {turret.Transient, "KMS is unavailable"},
	"KeyUnavailableException":             {turret.Transient, "the key is unavailable for now"},
	"RequestTimeout":                      {turret.Transient, "KMS waited too long for the request"},
	"RequestExpired":                      {turret.Transient, "the request arrived too late; check the clock"},
	"ExpiredTokenException":               expired,
	"ExpiredToken":                        expired,
	"DisabledException":                   {turret.Permanent, "the key is disabled; enable it"},
	"KMSInvalidStateException":            {turret.Permanent, "the key's state does not allow it; one that is to be deleted can be kept, by CancelKeyDeletion"},
	"NotFoundException":                   {turret.Permanent, "there is no such key here; check the id (an alias's begins with alias/), the account and the Region"},
	"InvalidArnException":                 {turret.Permanent, "the ARN is not a key's or an alias's"},
	"InvalidKeyUsageException":            {turret.Permanent, "the key is not made for this: its usage or its spec is another"},
	"InvalidGrantTokenException":          {turret.Permanent, "a grant token is not valid"},
	"UnsupportedOperationException":       {turret.Permanent, "a key of this kind cannot do it: only asymmetric keys sign"},
	"AccessDeniedException":               {turret.Permanent, accessDenied},
	"AccessDenied":                        {turret.Permanent, accessDenied},
	"ValidationException":                 {turret.Permanent, "KMS refused the request as invalid"},
	"ValidationError":                     {turret.Permanent, "KMS refused the request as invalid"},
	"UnrecognizedClientException":         {turret.Permanent, "the credentials are not known"},
	"InvalidClientTokenId":                {turret.Permanent, "the credentials are not known"},
	"InvalidSignatureException":           {turret.Permanent, "the credentials or the Region are wrong"},
	"SignatureDoesNotMatch":               {turret.Permanent, "the credentials or the Region are wrong"},
	"IncompleteSignature":                 {turret.Permanent, "the request was not signed as AWS wants it"},
	"IncompleteSignatureException":        {turret.Permanent, "the request was not signed as AWS wants it"},
	"MissingAuthenticationToken":          {turret.Permanent, "there are no credentials"},
	"MissingAuthenticationTokenException": {turret.Permanent, "there are no credentials"},
	"OptInRequired":                       {turret.Permanent, "the account is not subscribed to KMS"},
	"NotAuthorized":                       {turret.Permanent, "access denied"},
	"UnknownOperationException":           {turret.Permanent, "what answers at the endpoint is not KMS, or an older one"},
	"DryRunOperationException":            {turret.Permanent, "it was a dry run"},
	"SerializationException":              {turret.Permanent, "what answers at the endpoint does not understand the request"},
	"InvalidAction":                       {turret.Permanent, "what answers at the endpoint is not KMS"},
	"MalformedQueryString":                {turret.Permanent, "what answers at the endpoint is not KMS"},
	"MissingAction":                       {turret.Permanent, "what answers at the endpoint is not KMS"},
	"MissingParameter":                    {turret.Permanent, "KMS refused the request as invalid"},
	"InvalidParameterValue":               {turret.Permanent, "KMS refused the request as invalid"},
	"InvalidParameterCombination":         {turret.Permanent, "KMS refused the request as invalid"},
}

// explain makes a [signer.Error] of an error of the SDK: what it means, and what
// to do. A context's own error keeps no class, for turret.Outcome knows it best.
func (p *provider) explain(keyID, operation string, err error) error {
	m := classify(err)
	switch {
	case m == expired:
		p.refresher.refresh(p.client)
	case m.reason == accessDenied:
		m.reason += " kms:" + operation
	}
	cause := error(&cause{operation, err})
	if m.class != turret.Unknown {
		cause = turret.WithClass(cause, m.class)
	}
	return &signer.Error{KeyID: keyID, Reason: m.reason, Err: cause}
}

// errNoAnswer is what there is to say of a client, not the SDK's, that broke off.
var errNoAnswer = errors.New("the client returned neither an answer nor an error")

// errNoKey is for an answer that says nothing, such as a proxy's with an empty body.
var errNoKey = errors.New("the answer does not say which key signed")

func classify(err error) meaning {
	noCredentials := strings.Contains(err.Error(), "get credentials:") // no type of the SDK's says so
	if errors.Is(err, context.DeadlineExceeded) {
		if noCredentials {
			return meaning{turret.Unknown, "the SDK had not got credentials in time; KMS was not asked"}
		}
		return meaning{turret.Unknown, "KMS had not answered in time"}
	}
	if errors.Is(err, context.Canceled) { // the caller has gone, or another answer was first
		return meaning{turret.Unknown, "given up before KMS had answered"}
	}
	if creating, ok := errors.AsType[*types.KMSInvalidStateException](err); ok && strings.Contains(strings.ToLower(creating.ErrorMessage()), "creating") {
		return meaning{turret.Transient, "the replica of the key is still being made"}
	}
	if is[misdated](err) {
		return meaning{turret.Transient, "this machine's clock and KMS's differ, and the SDK had not made up for that"}
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if m, ok := meanings[api.ErrorCode()]; ok {
			return m
		}
	}
	if err == errNoAnswer {
		return meaning{turret.Transient, "the KMS client is broken"}
	}
	if err == errNoKey {
		return meaning{turret.Transient, "what answered may not be KMS"}
	}
	if is[*smithy.InvalidParamsError](err) {
		return meaning{turret.Permanent, "the SDK refused the request as invalid"}
	}
	switch {
	case noCredentials:
		return meaning{turret.Transient, "the SDK has no credentials, or could not renew them; KMS was not asked"}
	case is[*net.DNSError](err):
		return meaning{turret.Transient, "the name of KMS's endpoint does not resolve"}
	case is[*tls.CertificateVerificationError](err):
		return meaning{turret.Transient, "the certificate of what answers at KMS's endpoint does not verify"}
	case is[*smithyhttp.RequestSendError](err):
		return meaning{turret.Transient, "KMS cannot be reached"}
	}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return meaning{turret.Transient, fmt.Sprintf("KMS, or what stands before it, answered HTTP %d", resp.HTTPStatusCode())}
	}
	return meaning{turret.Transient, "the request was not sent; check credentials, Region and endpoint"}
}

// misdated is the SDK's word for a refusal by which it learned KMS's time, which it
// signs the next request with. Without it, a wrong Date header of whatever stood in
// for KMS a moment ago, or a clock that was set, would have a call refused for good.
type misdated interface {
	error
	RetryableError() bool
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// cause is an error of the SDK in fewer words.
type cause struct {
	operation string
	err       error
}

func (c *cause) Unwrap() error { return c.err }

func (c *cause) Error() string {
	text := c.operation + ": " + plain(c.innermost())
	if id, ok := errors.AsType[interface {
		error
		ServiceRequestID() string
	}](c.err); ok && id.ServiceRequestID() != "" {
		text += " (request " + plain(id.ServiceRequestID()) + ")"
	}
	return text
}

// innermost is what the SDK's layers of errors are about.
func (c *cause) innermost() string {
	if api, ok := errors.AsType[smithy.APIError](c.err); ok {
		if m := api.ErrorMessage(); m != "" && m != api.ErrorCode() {
			return api.ErrorCode() + ": " + m
		}
		return api.ErrorCode()
	}
	if sent, ok := errors.AsType[*smithyhttp.RequestSendError](c.err); ok {
		return sent.Err.Error()
	}
	if read, ok := errors.AsType[*smithy.DeserializationError](c.err); ok && read.Err != nil {
		if is[net.Error](read.Err) || errors.Is(read.Err, io.ErrUnexpectedEOF) || errors.Is(read.Err, errTooLong) {
			return read.Err.Error()
		}
		return "the answer does not read as one of KMS's"
	}
	if canceled, ok := errors.AsType[*smithy.CanceledError](c.err); ok && canceled.Err != nil {
		return canceled.Err.Error()
	}
	if operation, ok := errors.AsType[*smithy.OperationError](c.err); ok && operation.Err != nil {
		return operation.Err.Error() // the operation's name is there already
	}
	return c.err.Error()
}

// maxText is how many characters of what an endpoint says get into an error.
const maxText = 1000

// plain is a text from the network as it may stand in a log: on one line, and not
// without end. Who answers at the endpoint may not be KMS.
func plain(text string) string {
	n := 0
	for i := range text {
		if n++; n > maxText {
			text = text[:i] + "…"
			break
		}
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
