package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

func TestMain(m *testing.M) {
	if os.Getenv("BE_A_COMMAND") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// watch runs all strategies with fleets of the sizes, under each load, and
// returns the results by load's name, size and strategy's name.
func watch(t *testing.T, length time.Duration, sizes ...int) (of func(load string, size int, strategy string) result) {
	var scenarios []scenario
	for _, l := range loads {
		for _, n := range sizes {
			for _, s := range strategies {
				scenarios = append(scenarios, scenario{load: l, replicas: n, strategy: s, warmUp: length / 2, length: length})
			}
		}
	}
	results, err := runAll(t.Context(), t, scenarios, func() {})
	require.NoError(t, err)
	return func(load string, size int, strategy string) result {
		for _, r := range results {
			if r.load.name == load && r.replicas == size && r.strategy.name == strategy {
				return r
			}
		}
		t.Fatalf("there is no result of %s, %d, %s", load, size, strategy)
		return result{}
	}
}

const (
	even   = "even load, 125 % of the quota"
	uneven = "uneven load, 125 % of the quota"
	below  = "uneven load, 80 % of the quota"
)

func TestOnlyTheSharedLimiterUsesTheQuotaAndIsNotThrottled(t *testing.T) {
	sizes := []int{2, 10}
	of := watch(t, 4*time.Second, sizes...)
	for _, n := range sizes {
		for _, load := range []string{even, uneven, below} {
			r := of(load, n, "shared")
			assert.LessOrEqual(t, r.throttled(), 0.01, "%s, %d", load, n)
			assert.Positive(t, r.redisCalls)
		}
		assert.GreaterOrEqual(t, of(even, n, "shared").goodput(), 0.97, n)
		assert.GreaterOrEqual(t, of(uneven, n, "shared").goodput(), 0.9, "some of what the quiet fetch ahead expires; %d", n)
		assert.GreaterOrEqual(t, of(below, n, "shared").goodput(), 0.98, n)

		assert.GreaterOrEqual(t, of(even, n, "no limiter").throttled(), 0.2, n)
		assert.GreaterOrEqual(t, of(uneven, n, "no limiter").throttled(), 0.2, n)
		assert.GreaterOrEqual(t, of(even, n, "no limiter").goodput(), 0.97, "throttled calls cost no quota; %d", n)

		assert.GreaterOrEqual(t, of(even, n, "static split").goodput(), 0.97, n)
		assert.LessOrEqual(t, of(uneven, n, "static split").goodput(), 0.85, n)
		assert.LessOrEqual(t, of(below, n, "static split").goodput(), 0.9, n)
		assert.Zero(t, of(below, n, "static split").throttled(), n)

		fair, unfair := of(below, n, "shared").fairness(), of(below, n, "static split").fairness()
		assert.GreaterOrEqual(t, fair, 0.99, n)
		assert.Less(t, unfair, fair, n)
	}
	assert.LessOrEqual(t, of(below, 10, "static split").goodput(), 0.6)
	assert.LessOrEqual(t, of(even, 2, "shared").redisCallsEach(), 0.2)
}

// Two replicas take turns by chance, which evens out in some seconds; of fifty
// each has many to take turns with.
func TestTheSharedLimitersSharesAreEven(t *testing.T) {
	for n, length := range map[int]time.Duration{2: 20 * time.Second, 10: 8 * time.Second, 50: 3 * time.Second} {
		s := scenario{load: loads[0], replicas: n, strategy: strategies[3], warmUp: length / 3, length: length}
		r, err := s.run(t)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, r.fairness(), 0.95, n)
		assert.GreaterOrEqual(t, r.goodput(), 0.97, n)
		assert.LessOrEqual(t, r.throttled(), 0.01, n)
	}
}

func TestAdaptiveLimitersDoForAFewReplicas(t *testing.T) {
	for n, throttled := range map[int]struct{ least, most float64 }{2: {0, 0.1}, 100: {0.3, 1}} {
		s := scenario{load: loads[0], replicas: n, strategy: strategies[2], warmUp: 5 * time.Second, length: 10 * time.Second}
		r, err := s.run(t)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, r.throttled(), throttled.least, n)
		assert.LessOrEqual(t, r.throttled(), throttled.most, n)
		assert.GreaterOrEqual(t, r.goodput(), 0.85, n)
	}
}

// And goes on to: callers who have waited too long to use a token get none.
func TestAStaticSplitDoesForAnEvenLoad(t *testing.T) {
	s := scenario{load: loads[0], replicas: 2, strategy: strategies[1], warmUp: 10 * time.Second, length: 5 * time.Second}
	r, err := s.run(t)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, r.goodput(), 0.97)
	assert.Zero(t, r.throttled())
}

func TestTheStackIsThatOfSignerDefaults(t *testing.T) {
	srv := kmstest.NewServer()
	defer srv.Close()
	limiter := ratelimit.New(quota, 0)
	key, err := signer.NewBuilder(awskms.New(srv.Client(), srv.CreateKey(types.KeySpecEccNistP256))).
		Defaults(signer.Defaults{Timeout: patience, Rate: ratelimit.Options{Limiter: limiter}}).Build(t.Context())
	require.NoError(t, err)
	defer key.Close()
	_, layers, _ := strings.Cut(turret.Describe(key), "\n") // below the line of the signer
	layers, _, _ = strings.Cut(layers, "\nverify")
	want := strings.Replace(layers, "breaker kms/us-east-1 ", "breaker ", 1)
	got := strings.TrimSuffix(turret.Describe(stack(newKMS(1).sign, limiter)), "\nfunc")
	require.Equal(t, want, got)
}

func TestLoadsAddUp(t *testing.T) {
	for _, l := range loads {
		for _, n := range sizes {
			var total float64
			for i := range n {
				total += l.demand(i, n)
			}
			assert.InEpsilon(t, l.offered*quota, total, 1e-9, "%s, %d", l.name, n)
			assert.Equal(t, l.skewed, l.demand(0, n) > 2*l.demand(n-1, n))
		}
	}
}

func TestMaxMinGivesTheModestWhatTheyAskForAndTheOthersTheSame(t *testing.T) {
	for _, test := range []struct {
		demands  []int
		capacity float64
		want     []float64
	}{
		{[]int{10, 10}, 10, []float64{5, 5}},
		{[]int{8, 2, 100}, 20, []float64{8, 2, 10}},
		{[]int{100, 3, 100, 1}, 20, []float64{8, 3, 8, 1}},
		{[]int{1, 2, 3}, 100, []float64{1, 2, 3}},
		{[]int{0, 5}, 2, []float64{0, 2}},
	} {
		assert.Equal(t, test.want, maxMin(test.demands, test.capacity))
	}
}

func TestFairnessIsJainsIndexOfTheFairShare(t *testing.T) {
	r := result{scenario: scenario{length: time.Second}, demand: []int{1500, 100, 0}}
	for _, test := range []struct {
		signed []int
		want   float64
	}{
		{[]int{900, 100, 0}, 1},
		{[]int{450, 50, 0}, 1},  // as little each
		{[]int{900, 0, 0}, 0.5}, // one of two
		{[]int{0, 0, 0}, 1},     // nobody is better off
	} {
		r.signed = test.signed
		assert.InDelta(t, test.want, r.fairness(), 1e-9, test.signed)
	}
}

// itself returns this program, to run as the command.
func itself(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_A_COMMAND=1")
	return cmd
}

func TestCommandPrintsTablesAndDrawsThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet.svg")
	cmd := itself(t, "-for", "1s", "-most", "2", "-svg", file)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	for _, l := range loads {
		require.Contains(t, stdout.String(), "\n"+l.name+":\n\n| replicas |")
	}
	require.Equal(t, len(loads)*len(strategies), strings.Count(stdout.String(), "\n| 2 | "))
	require.Regexp(t, `\n\| 2 \| shared \| [\d.]+ % \| [\d.]+ % \| [\d.]+ \| [\d.]+ \| [\d.]+ \|\n`, stdout.String())
	require.NotContains(t, stdout.String(), "PASS")

	svg, err := os.Open(file)
	require.NoError(t, err)
	defer svg.Close()
	marks := 0
	for d := xml.NewDecoder(svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				require.NotContains(t, a.Value, "NaN")
				if a.Name.Local == "class" && a.Value == "mark" {
					marks++
				}
			}
		}
	}
	require.Equal(t, len(strategies)*(1+len(loads)*len(metrics)), marks, "in the legend, and in each panel")
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	for args, want := range map[string]struct {
		status int
		says   string
	}{
		"-for 1ms": {2, "fleet: -for is 1ms; it must be at least 1s\n"},
		"-most 1":  {2, "fleet: -most is 1; the smallest fleet has 2 replicas\n"},
		"-test.v":  {2, "fleet: flag provided but not defined: -test.v; -h lists the flags\n"},
		"-h":       {0, "usage: go run ./examples/fleet [flags]\n"},
	} {
		cmd := itself(t, strings.Fields(args)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		_ = cmd.Run()
		require.Equal(t, want.status, cmd.ProcessState.ExitCode(), args)
		require.Contains(t, stderr.String(), want.says, args)
	}
}
