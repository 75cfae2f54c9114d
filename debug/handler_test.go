package debug_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/middleware/breaker"
	"github.com/turretgo/turret/middleware/concurrency"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// layer is a service in a stack, as strange as it likes to be.
type layer struct {
	line  string
	state func() slog.Attr
	below []any
}

func (l layer) String() string { return l.line }
func (l layer) Unwrap() []any  { return l.below }
func (l layer) State() slog.Attr {
	if l.state == nil {
		return slog.Attr{}
	}
	return l.state()
}

// counting is one that keeps account.
type counting struct {
	layer
	stats func() stats.Snapshot
}

func (c counting) Stats() stats.Snapshot { return c.stats() }

func says(key string, args ...any) func() slog.Attr {
	return func() slog.Attr { return slog.Group(key, args...) }
}

func get(t *testing.T, stacks map[string]any, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	debug.Handler(stacks).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/turret"+query, nil))
	return w
}

func getPage(t *testing.T, stacks map[string]any) string {
	t.Helper()
	w := get(t, stacks, "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return w.Body.String()
}

// has checks that the page has all of these, and prints some of its body if it
// does not.
func has(t *testing.T, page string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			_, main, _ := strings.Cut(page, "<main>")
			t.Errorf("no %q in %.4000s", want, main)
		}
	}
}

func getReport(t *testing.T, stacks map[string]any) (r debug.Report) {
	t.Helper()
	w := get(t, stacks, "?format=json")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&r))
	return r
}

func TestJSONHasEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins with the year 2000
		begun := time.Now().UTC()
		window := stats.Window{
			Start: begun, Length: 4 * time.Second, Counts: stats.Counts{OK: 9, Throttled: 3},
			P50: 10 * time.Millisecond, P95: 20 * time.Millisecond, P99: 30 * time.Millisecond, Max: 40 * time.Millisecond,
		}
		home := layer{line: "home", state: says("breaker", "state", "open", "half_open_in", 312*time.Millisecond, "failures", 7)}
		top := counting{
			layer: layer{line: "failover home, away", state: says("failover", slog.Group("home", "health", "ailing"), "empty", slog.GroupValue()), below: []any{
				turret.Named("home", home), turret.Named("away", layer{line: "away", state: says("retry")}),
			}},
			stats: func() stats.Snapshot {
				return stats.Snapshot{
					InFlight: 2, Since: begun, Total: stats.Counts{OK: 1, Unknown: 2, Transient: 3, Throttled: 4, Permanent: 5, Canceled: 6, Rejected: 7},
					Minute: window, Slots: []stats.Window{window, {Start: begun}},
					Errors: []stats.Error{{At: begun, Class: turret.Throttled, Err: errors.New("slow down")}},
				}
			},
		}
		const counts = `{"calls": 12, "ok": 9, "unknown": 0, "transient": 0, "throttled": 3, "permanent": 0, "canceled": 0, "rejected": 0}`
		const win = `{"start": "2000-01-01T00:00:00Z", "length_seconds": 4, "calls_per_second": 3, "counts": ` + counts + `,
			"p50_seconds": 0.01, "p95_seconds": 0.02, "p99_seconds": 0.03, "max_seconds": 0.04}`
		const empty = `{"start": "2000-01-01T00:00:00Z", "length_seconds": 0, "calls_per_second": 0,
			"counts": {"calls": 0, "ok": 0, "unknown": 0, "transient": 0, "throttled": 0, "permanent": 0, "canceled": 0, "rejected": 0}}`
		w := get(t, map[string]any{"web": top}, "?format=json")
		require.JSONEq(t, `{"now": "2000-01-01T00:00:00Z", "stacks": [{
			"name": "web", "ready": true, "layers": [{
				"line": "failover home, away",
				"state": {"failover": {"home": {"health": "ailing"}}},
				"stats": {
					"in_flight": 2, "since": "2000-01-01T00:00:00Z",
					"total": {"calls": 28, "ok": 1, "unknown": 2, "transient": 3, "throttled": 4, "permanent": 5, "canceled": 6, "rejected": 7},
					"minute": `+win+`, "slots": [`+win+`, `+empty+`],
					"errors": [{"time": "2000-01-01T00:00:00Z", "class": "throttled", "text": "slow down"}]
				},
				"replicas": [
					{"name": "home", "layers": [{"line": "home", "state": {"breaker": {"state": "open", "half_open_in_seconds": 0.312, "failures": 7}}}]},
					{"name": "away", "layers": [{"line": "away"}]}
				]
			}]
		}]}`, w.Body.String())
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	})
}

func TestPageShowsLayersStatesCountsAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the database is down")
		b := turret.NewBuilder[bool, string]()
		b = turret.With(b, stats.Layer, stats.Options{})
		b = turret.With(b, concurrency.Layer, concurrency.Options{Max: 64})
		b = turret.With(b, breaker.Layer, gobreaker.Settings{Name: "db", Timeout: 30 * time.Second, ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures == 2 }})
		svc := b.ServiceFunc(func(_ context.Context, fail bool) (string, error) {
			<-time.After(20 * time.Millisecond)
			if fail {
				return "", turret.WithClass(down, turret.Transient)
			}
			return "", nil
		})
		stacks := map[string]any{"db": svc}
		for range 8 {
			svc.Call(t.Context(), false)
		}
		page := getPage(t, stacks)
		has(t, page, `<span class="badge good">closed</span>`)
		has(t, page, `<span class="badge good">ready</span>`)
		require.NotContains(t, page, "Last errors")

		for range 3 { // the last one is refused
			svc.Call(t.Context(), true)
		}
		<-time.After(12 * time.Second)
		page = getPage(t, stacks)
		has(t, page, `<b>breaker</b> db (opens`)
		has(t, page, `<span class="badge bad">open</span>`)
		has(t, page, `half-open in</span> <b>18 s</b>`)
		has(t, page, `<span class="badge bad">refuses calls</span>`)
		has(t, page, `<b>0 of 64</b>`)
		require.NotContains(t, page, `<span class="label">limit</span>`)
		has(t, page, "<dt>p50</dt><dd>20 ms</dd>")
		has(t, page, `<th scope="row">transient</th><td class="n rate">0.16</td><td class="n">2</td><td class="n">2</td>`)
		has(t, page, "none: unknown, throttled, permanent, canceled<")
		has(t, page, `<span class="ago">12 s ago</span> <span class="badge">transient</span></p><pre>the database is down</pre>`)
		has(t, page, `aria-label="Latency in the last minute: half of the calls took up to 20 ms,`)
		require.NotContains(t, page, "Nothing in this stack keeps account")
	})
}

func TestASignerShowsWhatCallersAndEachKeySee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no attempt is late, however busy the machine
		home := kmstest.NewServer()
		defer home.Close()
		away := home.Replica("eu-west-1")
		home.Inject(kmstest.Faults{Seed: 1, Throttle: 0.2, Internal: 0.2})
		web, err := signer.NewBuilder(awskms.MultiRegion(home.CreateKey(types.KeySpecEccNistP256), home.Client(), away.Client())).
			Defaults(signer.Defaults{}).Build(t.Context())
		require.NoError(t, err)
		defer web.Close()
		stacks := map[string]any{"web": web}

		const signers, each = 8, 40
		stop := make(chan struct{})
		var callers, readers sync.WaitGroup
		for range signers {
			callers.Go(func() {
				for range each {
					if _, err := web.WithContext(t.Context()).SignMessage(nil, []byte("m"), crypto.SHA256); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, query := range []string{"", "?format=json"} {
			readers.Go(func() {
				handler := debug.Handler(stacks)
				for {
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+query, nil))
					if w.Code != http.StatusOK {
						t.Error(w.Body)
					}
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
				}
			})
		}
		callers.Wait()
		close(stop)
		readers.Wait()

		layers := getReport(t, stacks).Stacks[0].Layers
		require.Equal(t, "signer ECDSA P-256", layers[0].Line)
		require.EqualValues(t, signers*each, layers[0].Stats.Total.OK)
		require.EqualValues(t, signers*each, layers[0].Stats.Total.Calls)
		fan := layers[len(layers)-1]
		require.Len(t, fan.Replicas, 2)
		for i, srv := range []*kmstest.Server{home, away} {
			r := fan.Replicas[i]
			require.Equal(t, "kms/"+srv.Region(), r.Name)
			for _, l := range r.Layers {
				if l.Stats != nil {
					require.EqualValues(t, srv.Stats().Op("Sign").Requests, l.Stats.Total.Calls, "%s", r.Name)
					require.EqualValues(t, srv.Stats().Op("Sign").OK, l.Stats.Total.OK, "%s", r.Name)
				}
			}
		}
		page := getPage(t, stacks)
		has(t, page, "<h4><span>kms/eu-west-1</span>")
		require.Equal(t, 2, strings.Count(page, "<details"), "an account of each key")
		has(t, page, "over quota")
	})
}

func TestOnlyReading(t *testing.T) {
	handler := debug.Handler(map[string]any{"web": layer{line: "x"}})
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "BREW"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	srv := httptest.NewServer(handler)
	defer srv.Close()
	resp, err := srv.Client().Head(srv.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Empty(t, body)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Positive(t, resp.ContentLength)
}

func TestHeadersLetNothingElseIn(t *testing.T) {
	stacks := map[string]any{"web": layer{line: "x"}}
	for query, contentType := range map[string]string{
		"":             "text/html; charset=utf-8",
		"?format=json": "application/json",
		"?format=xml":  "text/plain; charset=utf-8",
	} {
		header := get(t, stacks, query).Header()
		require.Equal(t, contentType, header.Get("Content-Type"), query)
		require.Equal(t, "no-store", header.Get("Cache-Control"))
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		policy := header.Get("Content-Security-Policy")
		require.True(t, strings.HasPrefix(policy, "default-src 'none'; "), policy)
		require.Contains(t, policy, "frame-ancestors 'none'")
		require.NotContains(t, policy, "unsafe")
	}
	page := getPage(t, stacks)
	for _, outside := range []string{"http:", "https:", "src=", " on", "@import", "url("} {
		if outside == " on" { // inline handlers, which are attributes
			require.NotRegexp(t, `<[^>]* on[a-z]+=`, page)
			continue
		}
		require.NotContains(t, page, outside)
	}
}

func TestQuery(t *testing.T) {
	stacks := map[string]any{"web": layer{line: "signs for the web"}, "a&b=c": layer{line: "signs for nobody"}}
	w := get(t, stacks, "?format=xml")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `there is no format "xml"`)
	w = get(t, stacks, "?stack=nope")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), `there is no stack "nope"`)

	one := get(t, stacks, "?stack="+url.QueryEscape("a&b=c")).Body.String()
	has(t, one, "nobody")
	require.NotContains(t, one, "signs</b> for the web")
	has(t, one, `href="?refresh=0&amp;stack=a%26b%3Dc"`)
	has(t, one, `href="?format=json&amp;stack=a%26b%3Dc"`)

	odd := map[string]any{"\xff": layer{line: "odd"}, "x": layer{}}
	has(t, get(t, odd, "?stack=%EF%BF%BD").Body.String(), "<b>odd</b>")

	has(t, getPage(t, stacks), `http-equiv="refresh"`)
	paused := get(t, stacks, "?refresh=0").Body.String()
	require.NotContains(t, paused, `http-equiv="refresh"`)
	require.NotContains(t, paused, "<script")
	has(t, paused, "resume")
}

func TestStacksAreInOrderAndThoseOfTheBeginning(t *testing.T) {
	stacks := map[string]any{"b": layer{}, "c": layer{}, "a": layer{}}
	handler := debug.Handler(stacks)
	delete(stacks, "b")
	for range 10 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?format=json", nil))
		var r debug.Report
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r))
		require.Len(t, r.Stacks, 3)
		for i, name := range []string{"a", "b", "c"} {
			require.Equal(t, name, r.Stacks[i].Name)
			require.Empty(t, r.Stacks[i].Problem)
		}
	}
}

func TestNothingToShowIsSaid(t *testing.T) {
	has(t, getPage(t, nil), "There are no stacks here")
	require.JSONEq(t, `[]`, jsonOf(t, getReport(t, nil).Stacks))

	plain := turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { return 0, nil })
	has(t, getPage(t, map[string]any{"plain": plain}), "put a <code>stats.Layer</code>")

	fresh := turret.With(turret.NewBuilder[int, int](), stats.Layer, stats.Options{}).Service(plain)
	page := getPage(t, map[string]any{"fresh": fresh})
	has(t, page, "no calls in the last minute")
	has(t, page, "<dt>p99</dt><dd>–</dd>")
	require.NotContains(t, page, "NaN")
}

func jsonOf(t *testing.T, v any) string {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

// angry is an error that panics when it is asked what it says.
type angry struct{}

func (angry) Error() string { panic("no comment") }

const script = "<script>document.title='owned'</script>"

// hostile are stacks that try everything.
func hostile() map[string]any {
	failed := func(err error) any {
		return counting{layer{line: "x"}, func() stats.Snapshot {
			return stats.Snapshot{Since: time.Now(), Errors: []stats.Error{{At: time.Now(), Err: err}}}
		}}
	}
	return map[string]any{
		script:         layer{line: script, state: says(script, script, script, "state", script)},
		"\xff\xfe\x00": layer{line: "bell\a, escape\x1b[31m, right to left\u202e, invalid \xc3\x28"},
		"javascript:x": layer{line: `" onmouseover="alert(1)`, below: []any{turret.Named(script, layer{line: script}), turret.Named("'\"", 1)}},
		"angry error":  failed(angry{}),
		"long error":   failed(errors.New(strings.Repeat("é", 1<<20))),
		"nil error":    failed(nil),
		"nil":          nil,
		"nil signer":   (*signer.Signer)(nil),
		"panics": layer{line: "top", below: []any{
			layer{line: "in its State", state: func() slog.Attr { panic("lost my state") }, below: []any{
				counting{layer{line: "in its Stats"}, func() stats.Snapshot { panic("cannot count") }},
			}},
		}},
		"odd": layer{line: "odd", state: says("odd", "nan", math.NaN(), "inf", math.Inf(-1), "any", struct{ X int }{7}, "nothing", nil,
			"late", late{}, "when", time.Unix(0, 0).UTC(), "tokens", 5, "burst", 0, "in_flight", -3, "limit", 2)},
		"no Unwrap":   unfathomable{},
		"not a stack": 42,
		"":            layer{line: ""},
	}
}

// unfathomable does not say what is below it.
type unfathomable struct{}

func (unfathomable) Unwrap() []any { panic("too deep") }

type late struct{}

func (late) LogValue() slog.Value { return slog.GroupValue(slog.Duration("by", time.Second)) }

func TestHostileStacksAreShownInPlace(t *testing.T) {
	stacks := hostile()
	page := getPage(t, stacks)
	require.True(t, utf8.ValidString(page))
	require.NotContains(t, page, "<script>document")
	require.Equal(t, 1, strings.Count(page, "<script>"), "that of the page")
	require.NotContains(t, page, `" onmouseover`)
	require.NotContains(t, page, "\x00")
	has(t, page, "␇, escape␛[31m, right to left\ufffd, invalid \ufffd(")
	has(t, page, "its Error method panicked: no comment")
	has(t, page, "its State panicked: lost my state")
	has(t, page, "its Stats panicked: cannot count")
	has(t, page, "there is no stack under this name: it is nil")
	has(t, page, "looking at the stack panicked: too deep")
	has(t, page, strings.Repeat("é", 500)+"…")
	require.NotContains(t, page, strings.Repeat("é", 501))
	require.Less(t, len(page), 200_000)

	byName := map[string]debug.Stack{}
	for _, s := range getReport(t, stacks).Stacks {
		byName[s.Name] = s
	}
	require.Len(t, byName, len(stacks))
	require.False(t, byName["nil"].Ready)
	odd := byName["odd"].Layers[0].State["odd"].(map[string]any)
	require.Equal(t, map[string]any{"nan": "NaN", "inf": "-Inf", "any": "{7}", "nothing": "<nil>", "late": map[string]any{"by_seconds": 1.0},
		"when": "1970-01-01T00:00:00Z", "tokens": 5.0, "burst": 0.0, "in_flight": -3.0, "limit": 2.0}, odd)
	panics := byName["panics"].Layers
	require.Len(t, panics, 3, "those around what panics are there")
	require.Equal(t, "its State panicked: lost my state", panics[1].Problem)
	require.Equal(t, "its Error method panicked: no comment", byName["angry error"].Layers[0].Stats.Errors[0].Text)
}

func TestGroupsInGroupsAreNotFollowedForever(t *testing.T) {
	deep := slog.IntValue(1)
	for range 100 {
		deep = slog.GroupValue(slog.Attr{Key: "g", Value: deep})
	}
	raw := get(t, map[string]any{"deep": layer{state: func() slog.Attr { return slog.Attr{Key: "deep", Value: deep} }}}, "?format=json").Body.String()
	require.Equal(t, 8, strings.Count(raw, `"g"`))
}

func TestWhatAilsIsSaidByReplica(t *testing.T) {
	open := layer{line: "breaker b (opens)", state: says("breaker", "state", "half-open")}
	stack := layer{line: "failover", below: []any{turret.Named("home", open), turret.Named("away", layer{line: "away"})},
		state: says("failover", slog.Group("home", "health", "away"), slog.Group("away", "health", "well"))}
	page := getPage(t, map[string]any{"web": stack})
	has(t, page, "<b>away</b>") // the only layer there is more than a title
	has(t, page, `<span class="badge warn">degraded</span>`)
	has(t, page, `<p class="ailing">home: away, breaker half-open</p>`)
}

func TestASignerThatCouldNotBeBuiltIsSaidToBeNil(t *testing.T) {
	key, err := signer.NewBuilder(nil).Build(t.Context())
	require.Error(t, err)
	s := getReport(t, map[string]any{"web": key}).Stacks[0]
	require.False(t, s.Ready)
	require.Equal(t, "there is no stack under this name: it is nil", s.Problem)
}

func TestWhatSaysNothingIsNoLayer(t *testing.T) {
	stack := layer{line: "outer", below: []any{layer{below: []any{layer{state: says("quiet", "n", 1), below: []any{layer{line: "inner"}}}}}}}
	layers := getReport(t, map[string]any{"web": stack}).Stacks[0].Layers
	require.Len(t, layers, 3, "%+v", layers)
	require.Equal(t, "outer", layers[0].Line)
	require.NotEmpty(t, layers[1].State, "it has a state, if no line")
	require.Equal(t, "inner", layers[2].Line)
}

func TestAFleetsLayerOnItsOwnIsAnAilment(t *testing.T) {
	limit := func(shared bool) layer {
		return layer{line: "rate limit fleet", state: says("ratelimit", "shared", shared, "rate", 500.0)}
	}
	page := getPage(t, map[string]any{"web": limit(true)})
	has(t, page, `<span class="badge good">ready</span>`)
	has(t, page, `<span class="badge good">shared</span>`)
	page = getPage(t, map[string]any{"web": limit(false)})
	has(t, page, `<span class="badge warn">degraded</span>`)
	has(t, page, `<p class="ailing">rate limit on its own</p>`)
}

func TestWhatABudgetHasLeftIsNamed(t *testing.T) {
	stack := layer{line: "retry up to 5", state: says("retry", "budget_left", 2.0), below: []any{
		layer{line: "hedge after 10ms", state: says("hedge", "budget_left", 3.0)},
	}}
	page := getPage(t, map[string]any{"web": stack})
	require.Equal(t, 1, strings.Count(page, "retries left"))
	require.Equal(t, 1, strings.Count(page, "hedges left"))
}

func TestWhyARegionIsNotUsedIsSaid(t *testing.T) {
	key := func(attrs ...any) layer { return layer{line: "AWS KMS arn:aws:kms", state: says("awskms", attrs...)} }
	stack := layer{line: "failover", below: []any{
		turret.Named("kms/eu-west-1", key("state", "refused", "refused_with", "DisabledException")),
		turret.Named("kms/us-east-1", key("state", "usable")),
	}, state: says("failover", slog.Group("kms/eu-west-1", "health", "ailing"), slog.Group("kms/us-east-1", "health", "well"))}
	page := getPage(t, map[string]any{"web": stack})
	has(t, page, `<p class="ailing">kms/eu-west-1: ailing, AWS KMS refused with DisabledException</p>`)
}

// account has a bit of everything, and large numbers.
func account() stats.Snapshot {
	now := time.Now()
	s := stats.Snapshot{
		InFlight: 1234, Since: now.Add(-100 * time.Hour),
		Total: stats.Counts{OK: 987_654_321, Unknown: 1, Transient: 22_222, Throttled: 333_333, Permanent: 4, Canceled: 55, Rejected: 6_666_666},
	}
	for i := range 12 {
		s.Slots = append(s.Slots, stats.Window{
			Start: now.Add(time.Duration(i-12) * 5 * time.Second), Length: 5 * time.Second, Counts: stats.Counts{OK: uint64(100 + 10*i), Throttled: uint64(i)},
			P50: 12 * time.Millisecond, P95: 80 * time.Millisecond, P99: time.Duration(i*i+20) * 10 * time.Millisecond, Max: 2 * time.Second,
		})
	}
	s.Minute = s.Slots[11]
	s.Minute.Length = time.Minute
	for i := range 10 {
		s.Errors = append(s.Errors, stats.Error{At: now.Add(-time.Duration(i*i*i) * time.Minute), Class: turret.Throttled,
			Err: errors.New("kms: throttled: arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef " + strings.Repeat("long", 30))})
	}
	return s
}
