package fleet

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/breaker"
)

// openReplica returns a replica that uses o.Client, and is closed when t ends.
func openReplica(t *testing.T, o BreakerOptions, next *backend) replica {
	b := NewBreaker(o)
	t.Cleanup(func() {
		assert.NoError(t, b.Close())
		b.redis.calling <- struct{}{} // a call that was given up has ended
	})
	return replica{b, ShareBreaker[string, string](b)(next)}
}

func TestTheStateIsInRedis(t *testing.T) {
	server := miniredis.RunT(t)
	o := BreakerOptions{
		Client: connect(t, &redis.Options{Addr: server.Addr()}), Key: "kms",
		Settings: gobreaker.Settings{Timeout: time.Second}, Timeout: 5 * time.Second,
	}
	var kms, well backend
	one, other := openReplica(t, o, &kms), openReplica(t, o, &well)
	o.Key = "another"
	another := openReplica(t, o, &well)
	stop := busy([]replica{other, another})
	defer func() { stop() }()
	eventually(t, "the state is not in Redis", func() bool { return len(server.Keys()) == 2 })

	kms.down.Store(true)
	for range 6 {
		one.call(t, errDown)
	}
	one.call(t, breaker.ErrOpen)
	eventually(t, "the other does not open", func() bool { return other.State() == gobreaker.StateOpen })
	assert.Equal(t, gobreaker.StateClosed, another.State())
	key := "gobreaker:state:kms:1:0s:0s:1s"
	assert.ElementsMatch(t, []string{key, "gobreaker:state:another:1:0s:0s:1s"}, server.Keys())
	assert.Greater(t, server.TTL(key), 30*time.Minute)
	eventually(t, "the fleet does not close", func() bool { return other.State() == gobreaker.StateClosed })
	kms.down.Store(false)
	eventually(t, "one does not close", func() bool { _, _ = one.Call(context.Background(), ""); return one.State() == gobreaker.StateClosed })
	require.NoError(t, one.Err())
	require.NoError(t, other.Err())
}

func TestAHostileRedisHoldsUpNoBreaker(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, unused.Close())

	const key = "gobreaker:state:kms:1:0s:0s:1m0s"
	list := miniredis.RunT(t)
	_, err = list.Push(key, "a list")
	require.NoError(t, err)
	other := miniredis.RunT(t)
	require.NoError(t, other.Set(key, "\x1b[2Janother's"))

	huge := miniredis.RunT(t)
	require.NoError(t, huge.Set(key, strings.Repeat(" ", maxState+1)))

	const late = "no answer from Redis in 50ms"
	const year = "*4\r\n$0\r\n\r\n$20\r\n99999999999999999999\r\n$1\r\n0\r\n$1\r\n1\r\n"
	tests := map[string]struct{ addr, says string }{
		"not there":            {unused.Addr().String(), ""},
		"hangs":                {server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), late},
		"hangs up":             {server(t, func(conn net.Conn) { conn.Close() }), ""},
		"garbage":              {server(t, saying("\x00\xff garbage\r\n")), "garbage"},
		"OK to everything":     {server(t, answering("+OK\r\n")), "Redis"},
		"a short array":        {server(t, answering("*1\r\n:1\r\n")), "Redis"},
		"no time":              {server(t, answering("*4\r\n$0\r\n\r\n$4\r\nsoon\r\n$1\r\n0\r\n$1\r\n1\r\n")), "nonsense for a time"},
		"a time far away":      {server(t, answering(year)), "nonsense for a time"},
		"never swaps":          {server(t, answering("*4\r\n$2\r\n{}\r\n$10\r\n1700000000\r\n$1\r\n0\r\n$1\r\n0\r\n")), "0 buckets"},
		"a huge state":         {huge.Addr(), "Redis has 262145 bytes under \"" + key + "\", which no breaker's state has; delete the key"},
		"a huge reply":         {server(t, answering("$9999999\r\nx")), late},
		"the key is another's": {other.Addr(), `invalid character '\\x1b'`},
		"the key is a list":    {list.Addr(), "WRONGTYPE"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			timeout := 5 * time.Second // the machine may be busy
			if test.says == late {
				timeout = 50 * time.Millisecond
			}
			lost := make(chan error, 100)
			var kms backend
			r := openReplica(t, BreakerOptions{
				Client: connect(t, &redis.Options{Addr: test.addr}), Key: "kms",
				Timeout: timeout, OnFallback: func(err error) { lost <- err },
			}, &kms)
			for range 100 {
				r.call(t, nil)
			}
			err := <-lost
			assert.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "\x1b")
			t.Log(err)
			kms.down.Store(true)
			for range 6 {
				r.call(t, errDown)
			}
			r.call(t, breaker.ErrOpen)
		})
	}
}

func TestARealRedisIsKilledAndRunAgainUnderBreakers(t *testing.T) {
	server := newRealRedis(t)
	o := BreakerOptions{Key: "kms", Settings: gobreaker.Settings{Timeout: 300 * time.Millisecond}, Timeout: time.Second}
	lost, found := make(chan error, 100), make(chan time.Duration, 100)
	var kms, well backend
	var fleet []replica
	for i := range 3 {
		next := &well
		if i == 0 {
			next = &kms
		}
		o := o
		o.Client = server.client(t)
		o.OnFallback = func(err error) { lost <- err }
		o.OnRecover = func(after time.Duration) { found <- after }
		fleet = append(fleet, openReplica(t, o, next))
	}
	one, others := fleet[0], fleet[1:]
	stop := busy(others)
	defer func() { stop() }()
	opens := func() {
		eventually(t, "the others do not open", func() bool {
			kms.down.Store(true)
			for range 6 {
				_, _ = one.Call(context.Background(), "")
			}
			return states(others)[gobreaker.StateOpen] > 0
		})
		kms.down.Store(false)
		eventually(t, "the fleet does not close", func() bool {
			_, _ = one.Call(context.Background(), "")
			return states(fleet)[gobreaker.StateClosed] == 3
		})
	}
	opens()

	server.kill()
	for _, r := range fleet {
		eventually(t, "Redis is not missed", func() bool { _, _ = r.Call(context.Background(), ""); return r.Err() != nil })
	}
	eventually(t, "one does not open by itself", func() bool {
		kms.down.Store(true)
		_, _ = one.Call(context.Background(), "")
		return one.State() == gobreaker.StateOpen
	})
	assert.Equal(t, 2, states(others)[gobreaker.StateClosed])
	kms.down.Store(false)
	eventually(t, "one does not close by itself", func() bool {
		_, _ = one.Call(context.Background(), "")
		return one.State() == gobreaker.StateClosed
	})
	assert.GreaterOrEqual(t, len(lost), 3)

	server.run(t)
	for _, r := range fleet {
		eventually(t, "Redis is not used again", func() bool { _, _ = r.Call(context.Background(), ""); return r.Err() == nil })
	}
	eventually(t, "OnRecover is not called", func() bool { return len(found) >= 3 })
	opens()
}

func TestARealRedisThatTakesNoWritesHoldsUpNoBreaker(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"full":      {[]string{"--maxmemory", "1", "--maxmemory-policy", "noeviction"}, "OOM"},
		"locked":    {[]string{"--requirepass", "secret"}, "NOAUTH"},
		"a replica": {[]string{"--replicaof", "127.0.0.1", "1"}, "READONLY"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := newRealRedis(t, test.args...)
			lost := make(chan error, 100)
			var kms backend
			r := openReplica(t, BreakerOptions{
				Client: server.client(t), Key: "kms", Timeout: 5 * time.Second,
				OnFallback: func(err error) { lost <- err },
				OnRecover:  func(time.Duration) { t.Error("it has not recovered") },
			}, &kms)
			defer busy([]replica{r})()
			assert.ErrorContains(t, <-lost, test.says)
			eventually(t, "Redis is not tried again", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.probes > 3
			})
			assert.Empty(t, lost)
		})
	}
}
