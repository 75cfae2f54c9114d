package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// NoQueue, as Options.MaxQueue, refuses a call for which there is no place now.
const NoQueue = -1

// DefaultMaxQueue is how many calls may wait where Options.MaxQueue is 0.
const DefaultMaxQueue = 1024

// Options configure [Layer]. Set Max, or Limit; the zero value of the rest is
// sane.
type Options struct {
	// Max is how many calls may be under way at once.
	Max int

	// MaxQueue is how many calls may wait for a place. 0 means DefaultMaxQueue,
	// and NoQueue refuses instead of waiting. It is counted against all who wait
	// for the Limit: of two services that share one, that with the lower
	// MaxQueue gives way first.
	MaxQueue int

	// MaxWait bounds the wait for a place. 0 leaves that to the context.
	MaxWait time.Duration

	// Limit is used in place of a fresh one, and takes the place of Max.
	// Services that are given the same one share its places, and its queue.
	Limit *Limit

	// OnWait, if set, is told of each call in the caller's goroutine, when it has
	// its place or was refused one.
	OnWait func(ctx context.Context, w Wait)
}

// Wait is how a call got its place, or did not.
type Wait struct {
	Waited time.Duration
	Err    error // why it got none: refused, or its context ended; nil if it got one
}

// Validate says what is wrong with o, or returns nil.
func (o Options) Validate() error {
	switch {
	case o.MaxQueue < 0 && o.MaxQueue != NoQueue:
		return fmt.Errorf("concurrency: MaxQueue is %d; it is how many calls may wait, 0 for %d, or NoQueue", o.MaxQueue, DefaultMaxQueue)
	case o.MaxWait < 0:
		return fmt.Errorf("concurrency: MaxWait is %v; it is a time to wait, or 0 for as long as the context allows; not to wait at all is MaxQueue: NoQueue", o.MaxWait)
	case o.Limit == nil:
		return validate(o.Max)
	case o.Max != 0:
		return errors.New("concurrency: both Limit and Max are set; the Limit has its own maximum, so set one or the other")
	case o.Limit.max == 0:
		return errors.New("concurrency: Limit is a zero Limit, which lets nothing through; make it with concurrency.New")
	}
	return nil
}

func validate(max int) error {
	if max < 1 {
		return fmt.Errorf("concurrency: Max is %d, which lets nothing through; set how many calls may be under way at once", max)
	}
	return nil
}

func (o Options) limit() *Limit {
	if o.Limit != nil {
		return o.Limit
	}
	return New(o.Max)
}

func (o Options) maxQueue() int {
	switch o.MaxQueue {
	case NoQueue:
		return 0
	case 0:
		return DefaultMaxQueue
	default:
		return o.MaxQueue
	}
}

// describe is the layer's line in turret.Describe.
func (o Options) describe(l *Limit) string {
	if o.MaxQueue == NoQueue {
		return fmt.Sprintf("concurrency %d, no queue", l.max)
	}
	line := fmt.Sprintf("concurrency %d, queue %d", l.max, o.maxQueue())
	if o.MaxWait > 0 {
		line += fmt.Sprintf(", waits %v at most", o.MaxWait)
	}
	return line
}
