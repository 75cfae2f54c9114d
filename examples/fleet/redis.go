package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/turretgo/turret/middleware/ratelimit"
	shared "github.com/turretgo/turret/redis"
)

// roundTrip is how long an answer of Redis is under way.
const roundTrip = 500 * time.Microsecond

// sharedRedis is the Redis that a fleet counts in: miniredis, at the other end
// of pipes, as virtual time stands still while anybody waits for a socket.
type sharedRedis struct {
	server *miniredis.Miniredis
	asked  atomic.Int64 // scripts run

	mu      sync.Mutex
	closers []func() error
	lost    error // why a limiter took to its local share
}

func newSharedRedis() *sharedRedis { return &sharedRedis{server: miniredis.NewMiniRedis()} }

// limiter returns one of the fleet's, with a client of its own.
func (r *sharedRedis) limiter(replicas int) ratelimit.Limiter {
	client := redis.NewClient(&redis.Options{
		Dialer:                func(context.Context, string, string) (net.Conn, error) { return r.server.Dial() },
		ContextTimeoutEnabled: true,
		// Else the client would look its Redis up in the DNS.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	client.AddHook(wire{&r.asked})
	limiter := shared.NewLimiter(shared.LimiterOptions{
		Client: client, Key: "kms", Rate: quota, Replicas: replicas, OnFallback: r.fellBack,
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closers = append(r.closers, limiter.Close, client.Close)
	return limiter
}

func (r *sharedRedis) fellBack(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = errors.Join(r.lost, err)
}

// close ends the limiters, and returns what went wrong.
func (r *sharedRedis) close() error {
	err := r.lost
	for _, c := range r.closers {
		err = errors.Join(err, c())
	}
	r.server.Close()
	return err
}

// wire is a client's way to Redis: it takes time, and counts.
type wire struct{ asked *atomic.Int64 }

func (w wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			w.asked.Add(1)
		}
		select {
		case <-time.After(roundTrip):
		case <-ctx.Done():
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
		return next(ctx, cmd)
	}
}

func (w wire) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
