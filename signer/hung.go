package signer

import (
	"errors"
	"time"
)

// ErrHung: an operation of a wrapped signer did not return, and the signer was
// given up; see [WrapOptions].HungAfter. Its class is Transient, for the signer
// that [Reconnect] opens in its place may do better.
var ErrHung = errors.New("the signer hangs")

// watchdog gives a signer up when one of its operations does not return.
type watchdog struct {
	patience time.Duration // 0 has no end
	giveUp   func()
}

// watch watches an operation until stop is called.
func (w watchdog) watch() (stop func() bool) {
	if w.patience == 0 {
		return func() bool { return true }
	}
	return time.AfterFunc(w.patience, w.giveUp).Stop
}
