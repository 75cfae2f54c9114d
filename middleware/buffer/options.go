package buffer

import (
	"fmt"
	"time"
)

// NoQueue, as a Capacity, lets no request wait: it is served now, or refused.
const NoQueue = -1

const defaultCapacity = 64

// Options configure a buffer. The zero Options are ready to use: 64 requests
// wait, and one more is refused.
type Options struct {
	// Capacity is how many requests wait at most, beside the one that the
	// handler is at. The last in the queue waits for Capacity + 1 of the
	// handler's turns: more is of no use to callers who will not wait that long.
	// 0 means 64.
	Capacity int

	// WaitForRoom is how long a call that finds the buffer full waits for room,
	// if its context allows. 0 refuses it at once. Calls that wait for room come
	// in first come, first served, and are as many as there are callers.
	WaitForRoom time.Duration
}

// Validate says what is wrong with o, if anything is.
func (o Options) Validate() error {
	switch {
	case o.Capacity < NoQueue:
		return fmt.Errorf("buffer: Capacity is %d; it must be at least 1, 0 for the default of %d, or NoQueue", o.Capacity, defaultCapacity)
	case o.WaitForRoom < 0:
		return fmt.Errorf("buffer: WaitForRoom is %v; it is a time to wait, or 0 to refuse at once", o.WaitForRoom)
	}
	return nil
}

// capacity is how many requests may wait.
func (o Options) capacity() int {
	switch o.Capacity {
	case 0:
		return defaultCapacity
	case NoQueue:
		return 0
	}
	return o.Capacity
}

// String is the layer's line in turret.Describe.
func (o Options) String() string {
	if o.WaitForRoom > 0 {
		return fmt.Sprintf("buffer %d, waits %v for room", o.capacity(), o.WaitForRoom)
	}
	return fmt.Sprintf("buffer %d, refuses when full", o.capacity())
}
