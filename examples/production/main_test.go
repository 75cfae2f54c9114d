package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Ten thousand signatures, with telemetry, page and Redis in use, and whoever
// watched saw the same.
func TestEverybodyAgreesToTheCall(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	p := started(t, "")
	const signatures = 10_000
	p.sign(t.Context(), signatures, 0)
	views, err := p.views(t.Context())
	require.NoError(t, err)
	require.NoError(t, agree(views))

	require.Len(t, views, 4)
	kms := views[0]
	require.Nil(t, kms.calls)
	require.EqualValues(t, signatures, kms.outcomes["ok"], "each signature was made once")
	for _, class := range classes {
		require.NotZero(t, kms.outcomes[class], "nothing was %s, so nothing was tried", class)
	}
	for _, v := range views[1:] {
		require.EqualValues(t, signatures, *v.calls, v.of)
	}
	stats := p.kms.Stats().Op("Sign")
	for what, n := range map[string]int{"internal": stats.Internal, "reset": stats.Reset, "corrupt": stats.Corrupt, "hung": stats.Hung} {
		require.NotZero(t, n, what)
	}
	require.EqualValues(t, signatures, p.key.Stats().Total.OK)
}

func TestTheLimitIsInTheRedisOfTheFlag(t *testing.T) {
	redis := miniredis.RunT(t)
	p := started(t, redis.Addr())
	p.sign(t.Context(), 100, 0)
	require.Len(t, redis.Keys(), 1)
	require.Contains(t, redis.Keys()[0], "turret-example/kms/ecc")
}

func TestDisagreementIsFound(t *testing.T) {
	calls, fewer := uint64(3), uint64(2)
	same := func(of string, calls *uint64, ok uint64) view { return view{of, calls, map[string]uint64{"ok": ok}} }
	require.NoError(t, agree([]view{same("KMS", nil, 3), same("traces", &calls, 3), same("page", &calls, 3)}))
	require.EqualError(t, agree([]view{same("KMS", nil, 3), same("traces", &calls, 4)}),
		"KMS and traces disagree on the attempts: map[ok:3] and map[ok:4]")
	require.EqualError(t, agree([]view{same("KMS", nil, 3), same("traces", &calls, 3), same("page", &fewer, 3)}),
		"traces and page disagree on the signatures asked for: 3 and 2")
}

func TestTheCommandPrintsWhatEverybodySaw(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-n", "300"}, &out, io.Discard))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 5)
	require.Equal(t, []string{"signatures", "attempts", "ok", "transient", "throttled"}, strings.Fields(lines[0]))
	require.Equal(t, "300", strings.Fields(lines[2])[1])
}

func TestMistakesAreSaid(t *testing.T) {
	for _, args := range [][]string{{"-n", "0"}, {"-listen", "nowhere"}, {"extra"}} {
		require.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%v", args)
	}
}

func TestInterruptedItSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	require.Error(t, run(ctx, nil, io.Discard, io.Discard))
}

func started(t *testing.T, redis string) *process {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := start(t.Context(), listener, redis)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	return p
}
