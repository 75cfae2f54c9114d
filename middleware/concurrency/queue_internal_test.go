package concurrency

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A call ends and, before it gets the lock, the last in the queue gives up.
func TestPlaceIsFreeWhenTheQueueGoesWhileItIsHandedOver(t *testing.T) {
	for range 20 {
		l := New(1)
		require.True(t, l.take())
		w, err := l.join(1)
		require.NoError(t, err)

		l.mu.Lock()
		var ended sync.WaitGroup
		ended.Go(l.release)
		<-time.After(100 * time.Microsecond) // it waits for the lock now
		l.remove(w)
		l.mu.Unlock()
		ended.Wait()
		require.Zero(t, l.InUse())
	}
}
