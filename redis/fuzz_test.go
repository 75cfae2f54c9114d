package fleet

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In a bubble it is the year 2000.
const (
	closedState   = `{"state":0,"generation":1,"age":0,"counts":{"Requests":5,"TotalFailures":5,"ConsecutiveFailures":5},"buckets":[{"Requests":5,"TotalFailures":5,"ConsecutiveFailures":5}],"start":"2000-01-01T00:00:00Z","expiry":"0001-01-01T00:00:00Z"}`
	countedState  = `{"state":0,"generation":1,"age":0,"counts":{},"buckets":[{}],"start":"2000-01-01T00:00:00Z","expiry":"2000-01-01T00:00:05Z"}`
	openState     = `{"state":2,"generation":1,"age":0,"counts":{},"buckets":[{}],"start":"2000-01-01T00:00:00Z","expiry":"2000-01-01T00:00:05Z"}`
	halfOpenState = `{"state":1,"generation":1,"age":0,"counts":{"Requests":1},"buckets":[{"Requests":1}],"start":"2000-01-01T00:00:00Z","expiry":"0001-01-01T00:00:00Z","prober":"me","since":"2000-01-01T00:00:00Z","until":"2000-01-01T00:00:01Z"}`
)

func rolling(state string) string {
	return strings.Replace(state, `"buckets":[{`, `"buckets":[{},{},{},{},{`, 1)
}

// FuzzRecord has anything in Redis. A replica takes it for a state only if a
// fleet recovers from that state as from any that gobreaker wrote: after the
// longest time that one lasts, successes close the breaker, and what was counted
// before is forgotten where it is to be.
func FuzzRecord(f *testing.F) {
	settings := []gobreaker.Settings{
		{Timeout: 10 * time.Second},
		{Timeout: 10 * time.Second, Interval: 5 * time.Second},
		{Timeout: 10 * time.Second, Interval: 5 * time.Second, BucketPeriod: time.Second},
	}
	for kind := range settings {
		for _, state := range []string{closedState, countedState, openState, halfOpenState, rolling(closedState), rolling(openState), rolling(halfOpenState)} {
			f.Add(uint8(kind), int32(0), []byte("sfsf"), state)
			f.Add(uint8(kind), int32(-1e6), []byte("ffffff"), strings.ReplaceAll(state, `"age":0`, `"age":18446744073709551615`))
			for _, year := range []string{"0000", "1970", "9999"} {
				f.Add(uint8(kind), int32(1e6), []byte("s"), strings.ReplaceAll(state, "2000", year))
				f.Add(uint8(kind), int32(1e6), []byte("s"), strings.ReplaceAll(state, "0001", year))
			}
		}
		f.Add(uint8(kind), int32(0), []byte("s"), strings.Replace(halfOpenState, `"since":"2000-01-01T00:00:00Z"`, `"since":"9999-12-31T00:00:00-23:59"`, 1))
		f.Add(uint8(kind), int32(0), []byte("s"), strings.Replace(halfOpenState, `"since":"2000-01-01T00:00:00Z"`, `"since":"0000-01-01T00:00:00+23:59"`, 1))
	}
	f.Add(uint8(0), int32(0), []byte{}, "")
	f.Add(uint8(0), int32(0), []byte{}, "null")
	f.Fuzz(func(t *testing.T, kind uint8, ahead int32, told []byte, data string) {
		if len(told) > 100 {
			return
		}
		results := make([]bool, len(told))
		for i, c := range told {
			results[i] = c == 's'
		}
		synctest.Test(t, func(t *testing.T) {
			s := settings[int(kind)%len(settings)]
			s.Name = "kms"
			b := &Breaker{follower: follower{settings: s, id: "me", ahead: time.Duration(ahead) * time.Millisecond}}
			r, err := b.advance(data, results)
			if err != nil {
				requirePlain(t, err)
				return
			}
			succeed := func(after time.Duration) {
				data, err := r.encode(b.ahead)
				require.NoError(t, err)
				<-time.After(after)
				r, err = b.advance(data, []bool{true, true})
				require.NoError(t, err)
			}
			for began := time.Now(); time.Since(began) < s.Timeout+maxLease+lease+2*skew; {
				succeed(lease / 2)
			}
			succeed(s.Interval + skew)
			require.Equal(t, gobreaker.StateClosed, r.State)
			require.NotZero(t, r.Counts.ConsecutiveSuccesses)
			if s.Interval > 0 {
				require.Equal(t, gobreaker.Counts{Requests: 2, TotalSuccesses: 2, ConsecutiveSuccesses: 2}, r.Counts)
			}
		})
	})
}

// FuzzReply answers the scripts of Breaker and Limiter with any bytes.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"*4\r\n$2\r\n{}\r\n$10\r\n1700000000\r\n$6\r\n999999\r\n$1\r\n1\r\n",
		"*4\r\n$0\r\n\r\n$19\r\n9223372036854775807\r\n$19\r\n9223372036854775807\r\n$1\r\n0\r\n",
		"*4\r\n$0\r\n\r\n$20\r\n-9223372036854775808\r\n$1\r\n0\r\n$1\r\n0\r\n",
		"*4\r\n:7\r\n:7\r\n$2\r\n-1\r\n$1\r\n0\r\n",
		"*4\r\n:0\r\n:0\r\n$3\r\n0.5\r\n$1\r\n1\r\n",
		"*4\r\n:0\r\n:0\r\n$3\r\nNaN\r\n$4\r\n+Inf\r\n",
		"*4\r\n:0\r\n:0\r\n$5\r\n1e300\r\n$1\r\n1\r\n",
		"*4\r\n:9223372036854775807\r\n:0\r\n$2\r\n-1\r\n$1\r\n0\r\n",
		"*4\r\n_\r\n#t\r\n,1.5\r\n(123456789012345678901234567890\r\n",
		"*2\r\n*1\r\n$1\r\nx\r\n%1\r\n+a\r\n*-1\r\n",
		"-NOSCRIPT No matching script\r\n", "-MOVED 1 :0\r\n", "-ERR \x1b[2J\r\n", "!9\r\nERR wrong\r\n",
		"|1\r\n+a\r\n+b\r\n*0\r\n", ">2\r\n+message\r\n+x\r\n*0\r\n", "+OK\r\n", "$-1\r\n", "_\r\n", "", "\r\n",
	} {
		f.Add([]byte(reply))
	}
	// Go-redis makes room for what is announced; the package's documentation says so.
	announced := regexp.MustCompile(`[$=!*~%>|][^\r\n]*[0-9]{4}`)
	f.Fuzz(func(t *testing.T, reply []byte) {
		if announced.Match(reply) {
			return
		}
		client := redis.NewClient(&redis.Options{
			Dialer:     func(context.Context, string, string) (net.Conn, error) { return newEcho(reply), nil },
			MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		})
		defer client.Close()

		there, err := newKeyRegister(BreakerOptions{Client: client, Key: "k"}).swap(t.Context(), "old", "next")
		if err == nil {
			year := there.at.UTC().Year()
			assert.True(t, 1970 <= year && year <= 9999, "it is the year %d", year)
		} else {
			requirePlain(t, err)
		}

		const n = 7
		o := LimiterOptions{Client: client, Key: "k", Rate: 100}.withDefaults()
		l := &Limiter{o: o, store: newCounter(o), redis: newCaller(time.Minute)}
		defer l.redis.stop()
		a := l.ask(n)
		if a.err == nil {
			assert.True(t, 0 <= a.granted && a.granted <= n, "%d tokens, of %d", a.granted, n)
			assert.True(t, 0 <= a.retry && a.retry < time.Minute, "the next in %v", a.retry)
		} else {
			requirePlain(t, a.err)
		}
	})
}

// requirePlain wants an error that can be logged.
func requirePlain(t *testing.T, err error) {
	t.Helper()
	assert.Less(t, len(err.Error()), 1000)
	assert.NotContains(t, err.Error(), "\x1b")
	assert.NotContains(t, err.Error(), "\n")
}

// echo is a connection to a Redis without a greeting, which answers every script
// with reply and then hangs up.
type echo struct {
	net.Conn // never called
	reply    []byte
	sent     bytes.Buffer
}

func newEcho(reply []byte) *echo { return &echo{reply: reply} }

func (c *echo) Write(p []byte) (int, error) {
	for commands := bufio.NewReader(bytes.NewReader(p)); ; {
		name, err := readCommand(commands)
		if err != nil {
			return len(p), nil
		}
		if strings.HasPrefix(name, "eval") {
			c.sent.Write(c.reply)
		} else {
			c.sent.WriteString("-ERR unknown command\r\n")
		}
	}
}

func (c *echo) Read(p []byte) (int, error) {
	if c.sent.Len() == 0 {
		return 0, io.EOF
	}
	return c.sent.Read(p)
}

func (*echo) Close() error                     { return nil }
func (*echo) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*echo) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*echo) SetDeadline(time.Time) error      { return nil }
func (*echo) SetReadDeadline(time.Time) error  { return nil }
func (*echo) SetWriteDeadline(time.Time) error { return nil }
