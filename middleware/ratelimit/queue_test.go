package ratelimit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/ratelimit"
)

// gifts is a Source whose tokens are given to it, and expected in hope each.
type gifts struct {
	n    int
	hope time.Duration
}

func (g *gifts) Take(time.Time) bool {
	if g.n == 0 {
		return false
	}
	g.n--
	return true
}

func (g *gifts) In(n int, _ time.Time) time.Duration {
	return time.Duration(max(n-g.n, 0)) * g.hope
}

func TestAQueueServesInOrderAsTokensCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &gifts{hope: time.Hour}
		q := ratelimit.NewQueue(source)
		served := make(chan int, 3)
		for i := range 3 {
			go func() {
				if assert.NoError(t, q.Wait(context.Background(), 0)) {
					served <- i
				}
			}()
			synctest.Wait()
		}
		start := time.Now()
		give := func(n, waiting int) {
			q.Update(func(now int, _ time.Time) bool {
				assert.Equal(t, waiting, now)
				source.n += n
				return false
			})
			synctest.Wait()
		}
		give(2, 3)
		require.Len(t, served, 2)
		give(2, 1)
		assert.Equal(t, []int{0, 1, 2}, []int{<-served, <-served, <-served})
		assert.Equal(t, start, time.Now(), "nobody waits for the hour that was the guess")
		assert.NoError(t, q.Wait(context.Background(), ratelimit.NoWait))
		assert.ErrorIs(t, q.Check(ratelimit.NoWait), ratelimit.ErrLimited)
	})
}

func TestAQueueRefusesThoseForWhomTokensComeTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &gifts{hope: time.Second}
		q := ratelimit.NewQueue(source)
		refused, patient := make(chan error, 1), make(chan error, 1)
		go func() { refused <- q.Wait(context.Background(), 2*time.Second) }()
		synctest.Wait()
		go func() { patient <- q.Wait(context.Background(), 0) }()
		synctest.Wait()

		start := time.Now()
		q.Update(func(int, time.Time) (later bool) { source.hope = time.Minute; return true })
		var e *ratelimit.Error
		require.ErrorAs(t, <-refused, &e)
		assert.Equal(t, time.Minute, e.Wait)
		assert.Equal(t, start, time.Now())

		q.Update(func(int, time.Time) bool { source.n = 1; return false })
		require.NoError(t, <-patient)
	})
}
