// Package rounded has durations as precise as a reader on call needs them.
package rounded

import "time"

// Duration is d to a tenth of a second, below a second to the millisecond, and
// below that to the microsecond.
func Duration(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}
