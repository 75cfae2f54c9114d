package signer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/signer"
)

// hanging is a closable signer whose first operation returns when released, and
// the others at once.
func hanging(release <-chan struct{}) *closableSigner {
	first := make(chan struct{}, 1)
	return &closableSigner{Signer: stubbed(func([]byte) ([]byte, error) {
		select {
		case first <- struct{}{}:
			<-release
		default:
		}
		return []byte("sig"), nil
	})}
}

func both(t *testing.T, test func(t *testing.T, o signer.WrapOptions)) {
	for name, o := range map[string]signer.WrapOptions{
		"concurrent": {HungAfter: 5 * time.Second},
		"serial":     {HungAfter: 5 * time.Second, Serial: true},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, o) }) })
	}
}

func TestHungOperationEndsItsCallAndTheSigner(t *testing.T) {
	both(t, func(t *testing.T, o signer.WrapOptions) {
		release := make(chan struct{})
		c := hanging(release)
		w := signer.Wrap(c, o)
		start := time.Now()
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrHung)
		require.Equal(t, turret.Transient, turret.Outcome(t.Context(), err))
		require.EqualError(t, err, "signer: an operation of the wrapped signer has not returned within 5s, and it was given up: the signer hangs")
		require.Equal(t, 5*time.Second, time.Since(start))

		_, err = w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrHung, "at once")
		require.ErrorIs(t, w.Ready(), signer.ErrHung)
		require.Equal(t, 5*time.Second, time.Since(start))

		close(release)
		synctest.Wait()
		require.NoError(t, w.Close())
		synctest.Wait()
		require.Equal(t, 1, c.closed)
	})
}

func TestCloseDoesNotWaitForWhatIsKnownToHang(t *testing.T) {
	both(t, func(t *testing.T, o signer.WrapOptions) {
		release := make(chan struct{})
		c := hanging(release)
		w := signer.Wrap(c, o)
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrHung)
		start := time.Now()
		require.NoError(t, w.Close())
		require.Zero(t, time.Since(start))
		require.Zero(t, c.closed)
		close(release)
		synctest.Wait()
		require.Equal(t, 1, c.closed, "when the operation has returned")
	})
}

func TestHangIsFoundWhenTheCallerHasGone(t *testing.T) {
	both(t, func(t *testing.T, o signer.WrapOptions) {
		release := make(chan struct{})
		defer close(release)
		w := signer.Wrap(hanging(release), o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Call(ctx, request)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, w.Ready())
		<-time.After(5 * time.Second)
		_, err = w.Call(t.Context(), request)
		require.ErrorIs(t, err, signer.ErrHung)
	})
}

func TestWhoWaitsBehindAHungOperationIsToldToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		w := signer.Wrap(hanging(release), signer.WrapOptions{Serial: true, HungAfter: 5 * time.Second})
		errs := make(chan error)
		for range 10 {
			go func() { _, err := w.Call(t.Context(), request); errs <- err }()
		}
		for range 10 {
			err := <-errs
			require.ErrorIs(t, err, signer.ErrHung)
			require.Equal(t, turret.Transient, turret.Classify(err), "not Rejected: this signer never comes back")
		}
	})
}

func TestWaitForATurnIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { <-time.After(time.Second); return []byte("sig"), nil }),
			signer.WrapOptions{Serial: true, HungAfter: 2 * time.Second})
		errs := make(chan error)
		for range 10 { // the last one waits for nine seconds
			go func() { _, err := w.Call(t.Context(), request); errs <- err }()
		}
		for range 10 {
			require.NoError(t, <-errs)
		}
		require.NoError(t, w.Close())
	})
}

func TestMapErrorClassifiesTheWrappedSignersErrors(t *testing.T) {
	disabled := errors.New("key disabled")
	for _, o := range []signer.WrapOptions{{}, {Serial: true}} {
		o.MapError = func(err error) error {
			if errors.Is(err, disabled) {
				return turret.WithClass(err, turret.Permanent)
			}
			return nil
		}
		next := disabled
		w := signer.Wrap(stubbed(func([]byte) ([]byte, error) { return nil, next }), o)
		_, err := w.Call(t.Context(), request)
		require.ErrorIs(t, err, disabled)
		require.Equal(t, turret.Permanent, turret.Classify(err))

		next = errors.New("communication error")
		_, err = w.Call(t.Context(), request)
		require.Equal(t, next, err, "nil leaves it as it was")

		next = nil
		_, err = w.Call(t.Context(), request)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	boxed := build(t, signer.NewBuilder(signer.Wrap(stubbed(func([]byte) ([]byte, error) { return nil, disabled }), signer.WrapOptions{})))
	o := signer.WrapOptions{MapError: func(err error) error { return turret.WithClass(err, turret.Throttled) }}
	_, err := signer.Wrap(boxed, o).Call(t.Context(), request)
	require.Equal(t, turret.Throttled, turret.Classify(err))
}

func TestNegativeHungAfterIsAnError(t *testing.T) {
	require.EqualError(t, signer.WrapOptions{HungAfter: -1}.Validate(), "signer: WrapOptions.HungAfter is -1ns; it must be above zero, or 0 to wait for ever")
}
