package telemetry

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/turretgo/turret"
)

// The attributes, as the package comment lists them.
const (
	keyStack       = attribute.Key("turret.stack.name")
	keyStackNumber = attribute.Key("turret.stack.number")
	keyReplica     = attribute.Key("turret.replica")
	keyOutcome     = attribute.Key("turret.outcome")
	keyAttempt     = attribute.Key("turret.attempt")
	keyLayer       = attribute.Key("turret.layer.type")
	keyLayerName   = attribute.Key("turret.layer.name")
	keyLayerNumber = attribute.Key("turret.layer.number")
	keyState       = attribute.Key("turret.state")
	keyEvent       = attribute.Key("turret.event.kind")
	keySubject     = attribute.Key("turret.event.subject")
	keyCount       = attribute.Key("turret.event.count")
	keyDelay       = attribute.Key("turret.event.delay")
	keyFrom        = attribute.Key("turret.event.from")
	keyTo          = attribute.Key("turret.event.to")
	keyAlgorithm   = attribute.Key("turret.signer.algorithm")
	keyMessageType = attribute.Key("turret.signer.message_type")
	keyKeyID       = attribute.Key("turret.signer.key_id")
	keyErrorType   = attribute.Key("error.type")
	keyErrorText   = attribute.Key("error.message")
	keyOverflow    = attribute.Key("otel.metric.overflow")
)

// outcome is how a call ended: well, in an error of a class, or not by returning.
type outcome uint8

const (
	panicked = outcome(turret.Rejected) + 1 + iota
	ok
	outcomes // how many there are
)

// failed returns the outcome of an error's class.
func failed(class turret.Class) outcome {
	if class > turret.Rejected { // somebody's own
		class = turret.Unknown
	}
	return outcome(class)
}

func (o outcome) String() string {
	switch o {
	case ok:
		return "ok"
	case panicked:
		return "panic"
	}
	return turret.Class(o).String()
}

// addTo adds the attributes of the outcome. What went well has no error.type, as
// the semantic conventions want it.
func (o outcome) addTo(attrs []attribute.KeyValue) []attribute.KeyValue {
	attrs = append(attrs, keyOutcome.String(o.String()))
	if o != ok {
		attrs = append(attrs, keyErrorType.String(o.String()))
	}
	return attrs
}

// addText adds an attribute for a text from outside, unless it is empty. What is
// not UTF-8 is mended: collectors refuse whole batches for it.
func addText(attrs []attribute.KeyValue, key attribute.Key, value string) []attribute.KeyValue {
	if value == "" {
		return attrs
	}
	return append(attrs, key.String(strings.ToValidUTF8(value, "\uFFFD")))
}
