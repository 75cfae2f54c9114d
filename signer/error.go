package signer

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

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
		b.WriteString(legible(e.KeyID) + ": ")
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// legible is a key's id as it stands, or in quotes where somebody who reads it
// would not see what it is: with the newline of the file that it came from, say.
func legible(id string) string {
	odd := func(r rune) bool {
		return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}
	if strings.ContainsFunc(id, odd) {
		return strconv.Quote(id)
	}
	return id
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
