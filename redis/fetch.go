package fleet

import (
	"context"
	"fmt"
	"time"
)

// fetch fetches tokens while they are wanted. There is one at a time.
func (l *Limiter) fetch() {
	for {
		n, wait, ok := l.next()
		if !ok {
			return
		}
		if wait > 0 {
			l.sleep(wait)
			continue
		}
		l.settle(n, l.ask(n))
	}
}

// next returns how many tokens to ask for, and in how long. When ok is false,
// the fetcher has ended.
func (l *Limiter) next() (n int, wait time.Duration, ok bool) {
	l.queue.Update(func(waiting int, now time.Time) bool {
		t := l.tokens
		if ok = !t.closed && t.worthAsking(waiting, now); ok {
			n, wait = t.next(waiting, now)
		} else {
			t.fetching = false
		}
		return false
	})
	return n, wait, ok
}

func (l *Limiter) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.redis.running.Done():
	}
}

// settle puts an answer to use.
func (l *Limiter) settle(n int, a answer) {
	var fallback, recovered bool
	var after time.Duration
	l.queue.Update(func(_ int, now time.Time) (later bool) {
		t := l.tokens
		switch {
		case t.closed:
			return false
		case a.err != nil:
			fallback = t.lose(a.err, now)
			return true
		}
		after, recovered = t.find(now)
		return t.grant(n, a.granted, a.retry, now)
	})
	if fallback && l.o.OnFallback != nil {
		l.o.OnFallback(a.err)
	}
	if recovered && l.o.OnRecover != nil {
		l.o.OnRecover(after)
	}
}

// answer is what Redis said: so many tokens, and when to ask for more.
type answer struct {
	granted int
	retry   time.Duration
	err     error
}

// ask takes n tokens, or what there is. Each of the two answers that this may take
// has Timeout.
//
// It reckons what there is from the refusal of n. redis_rate's AllowAtMost gives
// that at one go, but charges for the part of a token that it does not give, which
// costs a fleet that is short of tokens some percents of its quota.
func (l *Limiter) ask(n int) answer {
	granted, retry, err := l.allow(n)
	if err != nil || granted {
		return answer{granted: n, err: err}
	}
	each := time.Duration(float64(time.Second) / float64(l.o.Rate))
	if retry.Seconds() > 2*float64(l.o.Burst)/float64(l.o.Rate)+1 {
		key := "rate:" + l.o.Key
		return answer{err: fmt.Errorf("fleet: Redis has no token under %q for %v: its clock went back, or the key has been used with another Rate; to count anew, delete %q", key, retry.Round(time.Millisecond), key)}
	}
	missing := int(retry/each) + 1
	if missing >= n {
		return answer{retry: retry - time.Duration(n-1)*each}
	}
	granted, _, err = l.allow(n - missing)
	if err != nil || !granted { // another was faster
		return answer{err: err}
	}
	return answer{granted: n - missing}
}

// allow is the store's, in time.
func (l *Limiter) allow(n int) (granted bool, retry time.Duration, err error) {
	type refusal struct {
		granted bool
		retry   time.Duration
	}
	r, err := ask(&l.redis, func(ctx context.Context) (r refusal, err error) {
		r.granted, r.retry, err = l.store.allow(ctx, n)
		return r, err
	})
	return r.granted, r.retry, err
}
