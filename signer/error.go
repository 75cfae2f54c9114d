package signer

import (
	"strings"

	"github.com/turretgo/turret"
)

// Error says why a key cannot or did not sign, and what would be right.
type Error struct {
	KeyID     string    // which key, where known
	KeyType   string    // such as "ECDSA P-384", where known
	Algorithm Algorithm // which algorithm, where one was chosen
	Reason    string    // what is wrong, and what would be right
	Err       error     // what caused it, if anything
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("signer: ")
	if e.KeyID != "" {
		b.WriteString(e.KeyID + ": ")
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns what caused the error.
func (e *Error) Unwrap() error { return e.Err }

// Class is that of the cause, and Permanent where there is none: asking again
// changes nothing.
func (e *Error) Class() turret.Class {
	if e.Err != nil {
		return turret.Classify(e.Err)
	}
	return turret.Permanent
}
