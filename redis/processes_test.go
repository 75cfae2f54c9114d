package fleet

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// TestThreeProcesses has three processes share a quota of a KMS, through a
// redis-server that is killed and run again. What it prints is the table of
//
//	go test -v -run TestThreeProcesses ./redis
func TestThreeProcesses(t *testing.T) {
	server := newRealRedis(t)
	srv := kmstest.NewServer()
	t.Cleanup(srv.Close)
	keyID := srv.CreateKey(types.KeySpecEccNistP256)
	srv.Inject(kmstest.Faults{Quota: processQuota})

	var fleet []*process
	for _, load := range []load{
		{Callers: 40},
		{Callers: 15},
		{Callers: 1, Pause: time.Second / (processQuota / 10)}, // wants a tenth at most
	} {
		fleet = append(fleet, startProcess(t, job{KMS: srv.Endpoint(), KeyID: keyID, Redis: server.socket, Load: load}))
	}
	for _, p := range fleet {
		p.await(t, "ready")
	}
	kms := &meter{srv: srv}
	var asked int

	t.Logf("three processes, a quota of %d/s        signed/s   of quota  throttled   signed by each  asked Redis/s", processQuota)
	row := func(what string, d time.Duration) use {
		before := fleetSigned(t, fleet)
		u := kms.during(d)
		after := fleetSigned(t, fleet)
		calls := redisCalls(server)
		each := make([]string, len(fleet))
		for i := range fleet {
			each[i] = strconv.Itoa(after[i] - before[i])
		}
		t.Logf("%-36s %9.1f %9.1f%% %9.2f%%  %15s %9.1f", what, u.rate(), 100*u.share(), 100*u.throttled(),
			strings.Join(each, "+"), float64(max(0, calls-asked))/d.Seconds())
		asked = calls
		return u
	}
	row("the first second", time.Second)

	steady := row("the next 20 s", 20*time.Second)
	assert.GreaterOrEqual(t, steady.share(), enough())
	assert.LessOrEqual(t, steady.throttled(), 0.01)

	for _, p := range fleet {
		p.forget()
	}
	server.kill()
	noticed := row("the second after Redis is killed", time.Second)
	alone := row("the 4 s after that", 4*time.Second)
	for _, p := range fleet {
		p.await(t, "fallback")
	}
	assert.LessOrEqual(t, alone.share(), 1.0, "the overshoot lasts longer than a second")
	assert.LessOrEqual(t, noticed.throttled()+alone.throttled(), 0.01)

	server.run(t)
	for _, p := range fleet {
		p.await(t, "recover")
	}
	asked = redisCalls(server)
	again := row("the 5 s after Redis is run again", 5*time.Second)
	assert.GreaterOrEqual(t, again.share(), 0.9*enough(), "which the local shares do not reach")
	assert.Positive(t, redisCalls(server))

	var signed int
	for _, p := range fleet {
		end := p.stop(t)
		assert.Zero(t, end.Failed, "%s", end.Error)
		assert.GreaterOrEqual(t, end.Fallbacks, 1)
		signed += end.Signed
	}
	total := srv.Stats().Operations["Sign"]
	assert.Equal(t, total.OK, signed, "every signature that the KMS made has reached a caller")
	t.Logf("%d signatures, none lost; %d of %d requests throttled", signed, total.Throttled, total.Requests)
}

// enough is which share of the quota is to be used. Four processes and a Redis are
// held up by whatever else runs on a machine, and what they fetched is void by then:
// TURRET_ALONE says that nothing does. Elsewhere the share is not judged, for it
// tells of the machine.
func enough() float64 {
	if os.Getenv("TURRET_ALONE") != "" {
		return 0.97
	}
	return 0.1
}

// meter reads what the KMS counts.
type meter struct{ srv *kmstest.Server }

// use is what became of the requests in a stretch of time.
type use struct {
	kmstest.Counts
	elapsed time.Duration
}

func (u use) rate() float64  { return float64(u.OK) / u.elapsed.Seconds() }
func (u use) share() float64 { return float64(u.OK+u.Throttled) / u.elapsed.Seconds() / processQuota }
func (u use) throttled() float64 {
	return float64(u.Throttled) / max(1, float64(u.OK+u.Throttled))
}

func (m *meter) during(d time.Duration) use {
	start, before := time.Now(), m.srv.Stats().Operations["Sign"]
	<-time.After(d)
	after := m.srv.Stats().Operations["Sign"]
	after.OK -= before.OK
	after.Throttled -= before.Throttled
	return use{after, time.Since(start)}
}

// redisCalls returns how many scripts Redis has run, or 0 if it is not there.
func redisCalls(server *realRedis) (n int) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.socket})
	defer client.Close()
	stats, _ := client.InfoMap(context.Background(), "commandstats").Result()
	for name, line := range stats["Commandstats"] {
		if strings.HasPrefix(name, "cmdstat_eval") {
			var calls int
			_, _ = fmt.Sscanf(line, "calls=%d,", &calls)
			n += calls
		}
	}
	return n
}

func fleetSigned(t *testing.T, fleet []*process) (signed []int) {
	for _, p := range fleet {
		signed = append(signed, p.ask(t).Signed)
	}
	return signed
}

// job is what a process is told to do.
type job struct {
	KMS, KeyID, Redis string
	Load              load
}

// load is how a process signs: so many callers, each of which pauses after a
// signature.
type load struct {
	Callers int
	Pause   time.Duration
}

// report is a line that a process writes.
type report struct {
	Event     string // "ready", "fallback", "recover", "signed"; "failed"
	Signed    int
	Failed    int
	Fallbacks int
	Error     string // the first
}

// process is another process, from this test's own program.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	signed chan report

	mu     sync.Mutex
	events []string
}

const jobVariable = "TURRET_FLEET_JOB"

func startProcess(t *testing.T, j job) *process {
	text, err := json.Marshal(j)
	require.NoError(t, err)
	p := &process{cmd: exec.Command(os.Args[0]), signed: make(chan report)}
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(text),
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	p.cmd.Stderr = os.Stderr
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	var reading sync.WaitGroup
	reading.Go(func() { p.read(stdout) })
	t.Cleanup(func() {
		_ = p.stdin.Close()
		_ = p.cmd.Process.Kill()
		reading.Wait()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *process) read(stdout io.Reader) {
	defer close(p.signed)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		if r.Event == "signed" {
			p.signed <- r
			continue
		}
		p.mu.Lock()
		p.events = append(p.events, r.Event)
		p.mu.Unlock()
	}
}

// forget forgets what the process has told.
func (p *process) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = nil
}

// await waits until the process has told of event, after what was awaited before.
func (p *process) await(t *testing.T, event string) {
	eventually(t, "a process does not say "+event, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, e := range p.events {
			if e == event {
				p.events = p.events[i+1:]
				return true
			}
		}
		return false
	})
}

// ask asks how many signatures there are.
func (p *process) ask(t *testing.T) report {
	_, err := io.WriteString(p.stdin, "\n")
	require.NoError(t, err)
	return p.answer(t)
}

// stop ends the load, and asks a last time.
func (p *process) stop(t *testing.T) report {
	require.NoError(t, p.stdin.Close())
	return p.answer(t)
}

func (p *process) answer(t *testing.T) report {
	select {
	case r, ok := <-p.signed:
		require.True(t, ok, "a process has ended")
		return r
	case <-time.After(time.Minute):
		require.Fail(t, "a process does not answer")
		return report{}
	}
}

// work is the main function of such a process: it signs until its standard input
// ends.
func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	ctx := context.Background()
	var mu sync.Mutex
	var sum report
	out := json.NewEncoder(os.Stdout)
	say := func(event string) {
		mu.Lock()
		defer mu.Unlock()
		r := sum
		r.Event = event
		_ = out.Encode(r)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: j.Redis, ContextTimeoutEnabled: true})
	defer client.Close()
	limiter := NewLimiter(LimiterOptions{
		Client: client, Key: "kms/ecc", Rate: processQuota, Burst: processQuota / 2, Replicas: 3,
		Timeout: 500 * time.Millisecond, // the machine may be busy, and a Redis that is killed refuses at once
		OnFallback: func(error) {
			mu.Lock()
			sum.Fallbacks++
			mu.Unlock()
			say("fallback")
		},
		OnRecover: func(time.Duration) { say("recover") },
	})
	defer limiter.Close()
	provider, err := awskms.Open(ctx, fmt.Sprintf("awskms:///%s?region=us-east-1&endpoint=%s", j.KeyID, url.QueryEscape(j.KMS)))
	if err != nil {
		return err
	}
	key, err := signer.NewBuilder(provider).
		Timeout(20 * time.Second).
		Retry(retry.Options{MaxAttempts: 20}).
		RateLimit(ratelimit.Options{Limiter: limiter}).
		Use(BreakerLayer[signer.Request, signer.Response](BreakerOptions{
			Client: client, Key: "kms", Settings: gobreaker.Settings{Timeout: time.Second}, Timeout: 500 * time.Millisecond,
		})).
		Timeout(5 * time.Second).
		Build(ctx)
	if err != nil {
		return err
	}
	defer key.Close()

	loading, stop := context.WithCancel(ctx)
	var callers sync.WaitGroup
	for range j.Load.Callers {
		callers.Go(func() {
			for n := 0; loading.Err() == nil; n++ {
				digest := sha256.Sum256([]byte(strconv.Itoa(n)))
				_, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
				mu.Lock()
				if err == nil {
					sum.Signed++
				} else if sum.Failed++; sum.Failed == 1 {
					sum.Error = err.Error()
				}
				mu.Unlock()
				if j.Load.Pause > 0 {
					<-time.After(j.Load.Pause)
				}
			}
		})
	}
	say("ready")
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			break
		}
		say("signed")
	}
	stop()
	callers.Wait()
	say("signed")
	return nil
}
