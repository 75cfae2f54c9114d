package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// bounded keeps what is made for each key, for so many keys and no more: names
// that come from outside must not become series without end. It is safe for
// concurrent use, and a look into it costs no lock and no allocation.
type bounded[K comparable, V any] struct {
	limit int
	make  func(K) V
	rest  V // of all keys beyond the limit

	mu   sync.Mutex // held while known is replaced
	seen atomic.Pointer[map[K]V]
}

func (b *bounded[K, V]) get(key K) V {
	if seen := b.seen.Load(); seen != nil {
		if v, ok := (*seen)[key]; ok {
			return v
		}
		if len(*seen) >= b.limit {
			return b.rest
		}
	}
	return b.add(key)
}

func (b *bounded[K, V]) add(key K) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[K]V)
	if old := b.seen.Load(); old != nil {
		seen = maps.Clone(*old)
	}
	if v, ok := seen[key]; ok {
		return v
	}
	if len(seen) >= b.limit {
		return b.rest
	}
	seen[key] = b.make(key)
	b.seen.Store(&seen)
	return seen[key]
}
