package fleet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/turretgo/turret/middleware/ratelimit"
)

// connect returns a client for the Redis at addr.
func connect(t *testing.T, o *redis.Options) *redis.Client {
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// open returns a Limiter that is closed when t ends.
func open(t *testing.T, o LimiterOptions) *Limiter {
	l := NewLimiter(o)
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		l.redis.calling <- struct{}{} // a call that was given up has ended
	})
	return l
}

func TestTheCountIsInRedis(t *testing.T) {
	server := miniredis.RunT(t)
	o := LimiterOptions{Client: connect(t, &redis.Options{Addr: server.Addr()}), Key: "kms", Rate: 0.01, Burst: 3, Timeout: 5 * time.Second}
	one, other := open(t, o), open(t, o)
	o.Key = "another"
	another := open(t, o)

	ctx := context.Background()
	require.NoError(t, one.Wait(ctx, ratelimit.NoWait))
	require.NoError(t, other.Wait(ctx, ratelimit.NoWait))
	require.NoError(t, one.Wait(ctx, ratelimit.NoWait))
	assert.ErrorIs(t, other.Wait(ctx, ratelimit.NoWait), ratelimit.ErrLimited)
	assert.ErrorIs(t, one.Wait(ctx, ratelimit.NoWait), ratelimit.ErrLimited)
	assert.NoError(t, another.Wait(ctx, ratelimit.NoWait))
	assert.NoError(t, other.Err())
	assert.ElementsMatch(t, []string{"rate:kms", "rate:another"}, server.Keys())
}

func TestRatesKeepTheirValueInRedis(t *testing.T) {
	for _, r := range []float64{500, 1e6, 33.3, 0.5, 1.0 / 86400} {
		l := limit(LimiterOptions{Rate: rate.Limit(r), Burst: 1})
		assert.InEpsilon(t, r, float64(l.Rate)/l.Period.Seconds(), 1e-6)
		assert.LessOrEqual(t, float64(l.Rate)/l.Period.Seconds(), r*(1+1e-12), "never more than the quota")
	}
}

// server answers each connection as serve does, until t ends.
func server(t *testing.T, serve func(net.Conn)) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// saying answers everything with what.
func saying(what string) func(net.Conn) { return scripted(what, what) }

// answering greets as Redis does, and answers the script with what.
func answering(what string) func(net.Conn) {
	return scripted(what, "-ERR unknown command\r\n")
}

// scripted answers a script with what, and any other command otherwise.
func scripted(what, otherwise string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			name, err := readCommand(r)
			if err != nil {
				return
			}
			say := otherwise
			if strings.HasPrefix(name, "eval") {
				say = what
			}
			if _, err := io.WriteString(conn, say); err != nil {
				return
			}
		}
	}
}

// readCommand reads a command and returns its name in lower case.
func readCommand(r *bufio.Reader) (name string, err error) {
	var parts int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &parts); err != nil {
		return "", err
	}
	for i := range parts {
		var size int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return "", err
		}
		part := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(r, part); err != nil {
			return "", err
		}
		if i == 0 {
			name = strings.ToLower(string(part[:size]))
		}
	}
	return name, nil
}

func TestAHostileRedisHoldsUpNobody(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, unused.Close())

	full := miniredis.RunT(t)
	full.SetError("OOM command not allowed when used memory > 'maxmemory'.")
	locked := miniredis.RunT(t)
	locked.RequireAuth("secret")
	other := miniredis.RunT(t)
	require.NoError(t, other.Set("rate:kms", "not a number"))
	list := miniredis.RunT(t)
	_, err = list.Push("rate:kms", "a list")
	require.NoError(t, err)

	const late = "no answer from Redis in 50ms"
	tests := map[string]struct{ addr, says string }{
		"not there":            {unused.Addr().String(), ""},
		"hangs":                {server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), late},
		"hangs up":             {server(t, func(conn net.Conn) { conn.Close() }), ""},
		"garbage":              {server(t, saying("\x00\xff garbage\r\n")), "garbage"},
		"garbage, well begun":  {server(t, answering("\x00\xff garbage\r\n")), "garbage"},
		"a long error":         {server(t, answering("-ERR \x1b[2J"+strings.Repeat("x", 1<<16)+"\r\n")), `\x1b[2Jxxx`},
		"an HTTP server":       {server(t, saying("HTTP/1.1 400 Bad Request\r\n\r\n")), "400 Bad Request"},
		"OK to everything":     {server(t, answering("+OK\r\n")), "does not understand"},
		"a short array":        {server(t, answering("*1\r\n:1\r\n")), "does not understand"},
		"other types":          {server(t, answering("*4\r\n+a\r\n+b\r\n:3\r\n:4\r\n")), "does not understand"},
		"no number":            {server(t, answering("*4\r\n:0\r\n:0\r\n+soon\r\n+0\r\n")), "invalid syntax"},
		"too many tokens":      {server(t, answering("*4\r\n:1000000\r\n:0\r\n+-1\r\n+0\r\n")), "gave 1000000"},
		"fewer than none":      {server(t, answering("*4\r\n:-5\r\n:0\r\n+-1\r\n+0\r\n")), "gave -5"},
		"tokens in a year":     {server(t, answering("*4\r\n:0\r\n:0\r\n+31536000\r\n+0\r\n")), "8760h0m0s"},
		"a huge reply":         {server(t, answering("$9999999\r\nx")), late},
		"full":                 {full.Addr(), "OOM"},
		"no authority":         {locked.Addr(), "NOAUTH"},
		"the key is another's": {other.Addr(), "number expected"},
		"the key is a list":    {list.Addr(), "WRONGTYPE"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			timeout := 5 * time.Second // the machine may be busy
			if test.says == late {
				timeout = 50 * time.Millisecond
			}
			lost := make(chan error, 1)
			l := open(t, LimiterOptions{
				Client: connect(t, &redis.Options{Addr: test.addr}), Key: "kms", Rate: 1000, Burst: 10, Replicas: 1,
				Timeout: timeout, OnFallback: func(err error) { lost <- err },
			})
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // far from what it takes
			defer cancel()
			for range 100 {
				require.NoError(t, l.Wait(ctx, 0))
			}
			err := <-lost
			assert.ErrorContains(t, err, test.says)
			assert.Less(t, len(err.Error()), 400)
			assert.NotContains(t, err.Error(), "\x1b")
			t.Log(err)
		})
	}
}

// A client without ContextTimeoutEnabled goes on after the Limiter has given it
// up, and yet holds up nobody.
func TestAClientDeafToItsContextHoldsUpNobody(t *testing.T) {
	addr := server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	client := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: 300 * time.Millisecond, MaxRetries: -1})
	defer client.Close()
	l := NewLimiter(LimiterOptions{Client: client, Key: "kms", Rate: 1000, Replicas: 1})
	for range 300 {
		require.NoError(t, l.Wait(context.Background(), 0))
	}
	require.Error(t, l.Err())
	require.NoError(t, l.Close())
	l.redis.calling <- struct{}{} // what was given up has ended
}

// tool returns the path of a program, without which t is skipped, or fails if
// TURRET_REQUIRE_TOOLS is set.
func tool(t *testing.T, name, debian string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("TURRET_REQUIRE_TOOLS") != "" {
			t.Fatalf("%s is missing (Debian package %s), and TURRET_REQUIRE_TOOLS is set", name, debian)
		}
		t.Skipf("%s is missing (Debian package %s)", name, debian)
	}
	return path
}

// realRedis is a redis-server on a Unix socket, which can be killed and run
// again.
type realRedis struct {
	path, socket string
	args         []string
	cmd          *exec.Cmd
}

func newRealRedis(t *testing.T, args ...string) *realRedis {
	path := tool(t, "redis-server", "redis-server")
	dir, err := os.MkdirTemp("", "redis") // t.TempDir's names are too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	r := &realRedis{path: path, socket: filepath.Join(dir, "s"), args: append([]string{
		"--port", "0", "--save", "", "--appendonly", "no", "--dir", dir,
	}, args...)}
	r.run(t)
	t.Cleanup(r.kill)
	return r
}

func (r *realRedis) run(t *testing.T) {
	r.cmd = exec.Command(r.path, append([]string{"--unixsocket", r.socket}, r.args...)...)
	require.NoError(t, r.cmd.Start())
	client := r.client(t)
	eventually(t, "redis-server does not answer", func() bool {
		err := client.Ping(context.Background()).Err()
		return err == nil || redis.HasErrorPrefix(err, "NOAUTH")
	})
}

func (r *realRedis) kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

func (r *realRedis) client(t *testing.T) *redis.Client {
	return connect(t, &redis.Options{Network: "unix", Addr: r.socket})
}

// eventually waits for what is to come, however long a busy machine takes.
func eventually(t *testing.T, otherwise string, is func() bool) {
	require.Eventually(t, is, time.Minute, 2*time.Millisecond, otherwise)
}

func TestThreeReplicasUseAQuotaInARealRedis(t *testing.T) {
	r := newRealRedis(t)
	o := LimiterOptions{Key: "kms", Rate: 500, Replicas: 3, Timeout: 5 * time.Second} // the machine may be busy
	var c tally
	var stops []func()
	var limiters []*Limiter
	start := time.Now()
	for range 3 {
		o.Client = r.client(t)
		l := open(t, o)
		limiters = append(limiters, l)
		stops = append(stops, hungry(t, l, 30, c.add))
	}
	eventually(t, "the quota is not used", func() bool { return c.count() >= 2000 })
	for _, stop := range stops {
		stop()
	}
	quota := 500 * time.Since(start).Seconds()
	t.Logf("%d calls of %.0f", c.count(), quota)
	assert.GreaterOrEqual(t, float64(c.count()), 0.5*quota, "a busy machine; in virtual time it is 0.97")
	assert.LessOrEqual(t, float64(c.count()), quota+50+1)
	for _, l := range limiters {
		assert.NoError(t, l.Err())
	}
}

func TestARealRedisIsKilledAndRunAgain(t *testing.T) {
	r := newRealRedis(t)
	var c tally
	var stops []func()
	var limiters []*Limiter
	lost, found := make(chan error, 100), make(chan time.Duration, 100)
	start := time.Now()
	for range 3 {
		l := open(t, LimiterOptions{
			Client: r.client(t), Key: "kms", Rate: 500, Replicas: 3,
			OnFallback: func(err error) { lost <- err },
			OnRecover:  func(after time.Duration) { found <- after },
		})
		limiters = append(limiters, l)
		stops = append(stops, hungry(t, l, 30, c.add)) // none fails
	}
	eventually(t, "Redis is not used", func() bool { return c.count() > 300 && limiters[0].Err() == nil })
	r.kill()
	for _, l := range limiters {
		eventually(t, "Redis is not missed", func() bool { return l.Err() != nil })
	}
	before := c.count()
	eventually(t, "the local shares are not used", func() bool { return c.count() > before+300 })
	r.run(t)
	for _, l := range limiters {
		eventually(t, "Redis is not used again", func() bool { return l.Err() == nil })
	}
	for _, stop := range stops {
		stop()
	}
	assert.GreaterOrEqual(t, len(lost), 3)
	assert.GreaterOrEqual(t, len(found), 3)
	// Beyond the quota: the burst in Redis, before and after, what was fetched,
	// the local bursts, and the shares of those that come back last.
	over := 2*50 + 50 + 3*16 + 2*500/3*maxProbe.Seconds()
	assert.LessOrEqual(t, float64(c.count()), 500*time.Since(start).Seconds()+over)
}

func TestARealRedisThatTakesNoWritesHoldsUpNobody(t *testing.T) {
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
			r := newRealRedis(t, test.args...)
			l := open(t, LimiterOptions{Client: r.client(t), Key: "kms", Rate: 1000, Replicas: 1, Timeout: 5 * time.Second})
			for range 150 {
				require.NoError(t, l.Wait(context.Background(), 0))
			}
			assert.ErrorContains(t, l.Err(), test.says)
		})
	}
}
