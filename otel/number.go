package telemetry

import (
	"reflect"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
)

// family is the stacks of one name that measure by the same meters, by whatever
// instrumentations. What they say of themselves is told apart by number alone:
// without that, the breaker of one that is closed would hide the open one of
// another.
type family struct {
	meters any // nil is OpenTelemetry's global ones
	name   string
}

func familyOf(o Options) family {
	f := family{name: o.Name}
	if o.MeterProvider != nil && reflect.ValueOf(o.MeterProvider).Comparable() && any(o.MeterProvider) != any(otel.GetMeterProvider()) {
		f.meters = o.MeterProvider
	}
	return f
}

// numbers are those in use, each family's by themselves.
var numbers = struct {
	sync.Mutex
	taken map[family][]bool // from number 1; an entry ends with true
}{taken: make(map[family][]bool)}

// take returns the lowest number that is free.
func (f family) take() int {
	numbers.Lock()
	defer numbers.Unlock()
	taken := numbers.taken[f]
	i := slices.Index(taken, false)
	if i < 0 {
		i, taken = len(taken), append(taken, false)
	}
	taken[i] = true
	numbers.taken[f] = taken
	return i + 1
}

// free gives a number back.
func (f family) free(number int) {
	numbers.Lock()
	defer numbers.Unlock()
	taken := numbers.taken[f]
	taken[number-1] = false
	for len(taken) > 0 && !taken[len(taken)-1] {
		taken = taken[:len(taken)-1]
	}
	if len(taken) == 0 {
		delete(numbers.taken, f)
		return
	}
	numbers.taken[f] = taken
}
