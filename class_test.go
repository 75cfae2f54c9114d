package turret_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
)

// limit is a time limit set below the layer under test, as timeout.Error is.
type limit struct{ cause error }

func (e *limit) Error() string { return "limit" }
func (e *limit) Unwrap() error { return e.cause }
func (e *limit) Is(t error) bool {
	return t == context.DeadlineExceeded
}
func (e *limit) Class() turret.Class { return turret.Transient }

// several is an error made of several, as retry.Error is.
type several struct {
	errs  []error
	class turret.Class
}

func (e *several) Error() string       { return "several" }
func (e *several) Unwrap() []error     { return e.errs }
func (e *several) Class() turret.Class { return e.class }

func (e *several) RetryAfter() (time.Duration, bool) { return turret.RetryAfter(e.errs[0]) }

type after time.Duration

func (e after) Error() string                     { return "later" }
func (e after) RetryAfter() (time.Duration, bool) { return time.Duration(e), e > 0 }

func TestClassify(t *testing.T) {
	throttled := turret.WithClass(io.EOF, turret.Throttled)
	for name, tc := range map[string]struct {
		err  error
		want turret.Class
	}{
		"nil":                        {nil, turret.Unknown},
		"nobody said":                {io.EOF, turret.Unknown},
		"said":                       {throttled, turret.Throttled},
		"said below":                 {fmt.Errorf("sign: %w", throttled), turret.Throttled},
		"the outermost word counts":  {turret.WithClass(throttled, turret.Permanent), turret.Permanent},
		"the first of a join counts": {errors.Join(io.EOF, throttled, turret.WithClass(io.EOF, turret.Permanent)), turret.Throttled},
		"several answer themselves":  {&several{[]error{throttled}, turret.Transient}, turret.Transient},
		"a bare cancel":              {context.Canceled, turret.Canceled},
		"a bare deadline":            {fmt.Errorf("get: %w", context.DeadlineExceeded), turret.Transient},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, turret.Classify(tc.err)) })
	}
}

func TestOutcome(t *testing.T) {
	live := t.Context()
	canceled, cancel := context.WithCancel(live)
	cancel()
	expired, cancel := context.WithTimeout(live, -1)
	defer cancel()
	shutdown := errors.New("shutdown")
	caused, cancelCause := context.WithCancelCause(live)
	cancelCause(shutdown)
	mine := &limit{}
	limited, cancel := context.WithTimeoutCause(live, -1, mine)
	defer cancel()

	transient := func(err error) error { return turret.WithClass(err, turret.Transient) }
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want turret.Class
	}{
		"nothing to judge":                             {canceled, nil, turret.Unknown},
		"live: as classified":                          {live, turret.WithClass(io.EOF, turret.Rejected), turret.Rejected},
		"live: a cancel is the service's":              {live, context.Canceled, turret.Transient},
		"live: a classified cancel is the service's":   {live, turret.WithClass(io.EOF, turret.Canceled), turret.Transient},
		"live: a deadline is the service's":            {live, context.DeadlineExceeded, turret.Transient},
		"live: a limit below":                          {live, &limit{context.DeadlineExceeded}, turret.Transient},
		"canceled: its own error":                      {canceled, fmt.Errorf("get: %w", context.Canceled), turret.Canceled},
		"canceled: wrapped by a classifying backend":   {canceled, transient(context.Canceled), turret.Canceled},
		"canceled: unclassified":                       {canceled, io.ErrUnexpectedEOF, turret.Canceled},
		"canceled: a word of the service's own":        {canceled, turret.WithClass(io.EOF, turret.Throttled), turret.Throttled},
		"canceled: a limit below came first":           {canceled, &limit{context.DeadlineExceeded}, turret.Transient},
		"expired: its own error":                       {expired, context.DeadlineExceeded, turret.Canceled},
		"expired: wrapped by a classifying backend":    {expired, transient(context.DeadlineExceeded), turret.Canceled},
		"expired: a limit below came first":            {expired, fmt.Errorf("x: %w", &limit{context.DeadlineExceeded}), turret.Transient},
		"expired: several, transient at last":          {expired, &several{[]error{&limit{}}, turret.Transient}, turret.Transient},
		"expired: several, ended by the caller":        {expired, &several{[]error{context.DeadlineExceeded}, turret.Canceled}, turret.Canceled},
		"caused: the cause itself, as net/http has it": {caused, fmt.Errorf("get: %w", shutdown), turret.Canceled},
		"caused: the plain error":                      {caused, context.Canceled, turret.Canceled},
		"a layer's limit above: its cause":             {limited, fmt.Errorf("get: %w", mine), turret.Canceled},
		"a layer's limit above: the plain error":       {limited, context.DeadlineExceeded, turret.Canceled},
		"a layer's limit above, another below":         {limited, &limit{context.DeadlineExceeded}, turret.Transient},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, turret.Outcome(tc.ctx, tc.err)) })
	}
}

func TestWithClassKeepsTheError(t *testing.T) {
	err := turret.WithClass(io.EOF, turret.Permanent)
	require.EqualError(t, err, "EOF")
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, turret.WithClass(nil, turret.Permanent))
}

func TestWithRetryAfterKeepsTheErrorAndItsClass(t *testing.T) {
	err := turret.WithRetryAfter(turret.WithClass(io.EOF, turret.Throttled), time.Second)
	require.EqualError(t, err, "EOF")
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, turret.Throttled, turret.Classify(err))
	after, ok := turret.RetryAfter(turret.WithRetryAfter(err, time.Minute))
	require.True(t, ok)
	require.Equal(t, time.Minute, after, "the outermost word counts")
	require.NoError(t, turret.WithRetryAfter(nil, time.Second))
}

func TestRetryAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want time.Duration
		ok   bool
	}{
		"nil":                       {nil, 0, false},
		"none":                      {io.EOF, 0, false},
		"said below":                {turret.WithClass(fmt.Errorf("x: %w", after(time.Second)), turret.Throttled), time.Second, true},
		"the first word is no":      {errors.Join(after(0), after(time.Second)), 0, false},
		"several answer themselves": {&several{[]error{after(2), after(1)}, 0}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := turret.RetryAfter(tc.err)
			require.Equal(t, tc.want, d)
			require.Equal(t, tc.ok, ok)
		})
	}
}

func TestClassString(t *testing.T) {
	require.Equal(t, "throttled", turret.Throttled.String())
	require.Equal(t, "class 77", turret.Class(77).String())
	text, err := turret.Rejected.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "rejected", string(text))
}

func TestAttempt(t *testing.T) {
	ctx := t.Context()
	require.Equal(t, 1, turret.Attempt(ctx))
	require.Equal(t, ctx, turret.WithAttempt(ctx, 1), "a first attempt costs nothing")
	second := turret.WithAttempt(ctx, 2)
	require.Equal(t, 2, turret.Attempt(second))
	require.Equal(t, 1, turret.Attempt(turret.WithAttempt(second, 1)), "the nearest retry counts")
}
