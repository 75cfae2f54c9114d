//go:build unix

package debug_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/middleware/stats"
)

// busy are stacks with a bit of everything, much of it bad.
func busy(calls uint64) map[string]any {
	account := func() stats.Snapshot {
		s := account()
		s.Total.OK += calls
		return s
	}
	region := func(name, state string, tokens float64) any {
		return turret.Named(name, layer{line: name, below: []any{
			layer{line: "rate limit 1000/s, burst 100", state: says("ratelimit", "rate", 1000.0, "burst", 100, "tokens", tokens, "queue", 12), below: []any{
				layer{line: "breaker " + name + " (opens for 400ms)", state: says("breaker", "state", state, "half_open_in", 312*time.Millisecond, "requests", 120, "failures", 7, "consecutive_failures", 6), below: []any{
					counting{layer{line: "verify", below: []any{layer{line: "AWS KMS arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef"}}}, account},
				}},
			}},
		}})
	}
	stacks := map[string]any{
		"web": counting{layer{line: "signer ECDSA P-256", below: []any{
			layer{line: "throttle", state: says("throttle", "requests", 100, "accepts", 80, "refusal_probability", 0.18), below: []any{
				layer{
					line: "failover kms/us-east-1, kms/eu-west-1", below: []any{region("kms/us-east-1", "open", 3), region("kms/eu-west-1", "half-open", 97), region("kms/ap-southeast-2", "closed", 50)},
					state: says("failover", slog.Group("kms/us-east-1", "health", "away", "failures", 12),
						slog.Group("kms/eu-west-1", "health", "ailing", "failures", 1), slog.Group("kms/ap-southeast-2", "health", "well", "failures", 0)),
				},
			}},
		}}, account},
	}
	for name, stack := range hostile() {
		stacks[name] = stack
	}
	return stacks
}

// serveBusy serves the page of busy stacks and, at /frame, a page that holds it in
// frames so wide, runs a script of the test's own on each, and shows what those
// returned. It returns the server's address, and how often the page was asked for.
func serveBusy(t *testing.T, scripted string) (url string, asked *atomic.Uint64) {
	asked = new(atomic.Uint64)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/turret", func(w http.ResponseWriter, r *http.Request) {
		handler := debug.Handler(busy(asked.Add(1)))
		if r.Header.Get("Sec-Fetch-Dest") == "iframe" {
			w = framed{w}
		}
		handler.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<!doctype html><body>")
		for _, width := range r.URL.Query()["width"] {
			fmt.Fprintf(w, `<iframe width="%s" height="800" src="/debug/turret?%s"></iframe>`, width, html.EscapeString(r.FormValue("query")))
		}
		fmt.Fprintf(w, `<pre id="result"></pre><script>
			const wait = (ms) => new Promise((done) => setTimeout(done, ms));
			const look = async (page, view) => {%s};
			onload = async () => {
				let said = [];
				try {
					for (const f of document.querySelectorAll("iframe")) said.push(await look(f.contentDocument, f.contentWindow));
				} catch (e) { said = String(e); }
				document.getElementById("result").textContent = JSON.stringify(said);
			};
		</script>`, scripted)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

// framed lets the page be put in a frame, which it does not want. All else of its
// policy stays.
type framed struct{ http.ResponseWriter }

func (f framed) WriteHeader(code int) { f.ResponseWriter.WriteHeader(code) }
func (f framed) Write(p []byte) (int, error) {
	policy := f.Header().Get("Content-Security-Policy")
	f.Header().Set("Content-Security-Policy", strings.Replace(policy, "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
	return f.ResponseWriter.Write(p)
}

// chromium returns Chromium, about to open a page. It ends with the context, with
// all its children.
func chromium(ctx context.Context, t *testing.T, url string, flags ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-breakpad",
		"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--window-size=1200,1000",
	}, flags...)
	cmd := exec.CommandContext(ctx, tool(t, "chromium", "chromium"), append(args, url)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// browse returns what Chromium makes of a page some seconds, of virtual time,
// after it was opened, and what it complained of.
func browse(t *testing.T, url string, seconds int, flags ...string) (dom, complaints string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a busy machine
	defer cancel()
	cmd := chromium(ctx, t, url, append(flags, fmt.Sprintf("--virtual-time-budget=%d", seconds*1000), "--dump-dom")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	cmd.Cancel() // what it may have left behind
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			complaints += line
		}
	}
	return stdout.String(), complaints
}

// tool returns the path of a program, without which t is skipped, or fails if
// TURRET_REQUIRE_TOOLS is set.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("TURRET_REQUIRE_TOOLS") != "" {
			t.Fatalf("%s is missing (Debian package %s), and TURRET_REQUIRE_TOOLS is set", name, debian)
		}
		t.Skipf("%s is missing; install it (apt-get install %s) to run this test", name, debian)
	}
	return path
}

// results decodes what the script returned for each frame.
func results(t *testing.T, dom string, into any) {
	t.Helper()
	found := regexp.MustCompile(`(?s)<pre id="result">(.+?)</pre>`).FindStringSubmatch(dom)
	require.NotNil(t, found, "no result in %s", dom)
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(found[1])), into))
}

func TestChromiumShowsThePageAndHasNoComplaint(t *testing.T) {
	url, _ := serveBusy(t, "")
	dom, complaints := browse(t, url+"/debug/turret", 2)
	require.Empty(t, complaints)
	has(t, dom, "<title>turret</title>", `<span class="badge bad">away</span>`, `<span class="badge warn">half-open</span>`, `<b>3 of 100</b>`, `<span class="label">failures</span> <b>12</b>`)
	require.Equal(t, 1, strings.Count(dom, "<script>"))
}

// measure reports what does not fit, and what is hard to read.
const measure = `
	for (const d of page.querySelectorAll("details")) d.open = true;
	const name = (e) => e.tagName + "." + (e.getAttribute("class") ?? "") + " " + e.textContent.trim().slice(0, 40);
	const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
	const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
	const back = (e) => {
		if (!e) return [255, 255, 255, 1];
		const own = rgba(view.getComputedStyle(e).backgroundColor);
		return own[3] === 1 ? own : over(own, back(e.parentElement));
	};
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + .05) / (y + .05); };
	const answer = {Width: page.documentElement.scrollWidth, Room: page.documentElement.clientWidth, Outside: [], Faint: [], Small: [], Texts: 0,
		Back: view.getComputedStyle(page.body).backgroundColor};
	for (const e of page.body.querySelectorAll("*")) {
		const box = e.getBoundingClientRect();
		if (box.width === 0 || e.closest("script, title")) continue;
		const card = e.closest(".replica, section, .index, body").getBoundingClientRect();
		if (box.right > card.right + .5 || box.left < card.left - .5) answer.Outside.push(name(e));
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "")) continue;
		answer.Texts++;
		const style = view.getComputedStyle(e);
		const ink = rgba(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
		const under = back(e);
		const ratio = contrast(over(ink, under), under);
		if (ratio < 4.5) answer.Faint.push(ratio.toFixed(2) + " " + name(e));
		const svg = e.closest("svg");
		const size = parseFloat(style.fontSize) * (svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1);
		if (size < 9.9) answer.Small.push(size.toFixed(1) + " " + name(e));
	}
	return answer;`

func TestThePageFitsAndIsReadable(t *testing.T) {
	url, _ := serveBusy(t, measure)
	backs := map[string]bool{}
	widths := []string{"360", "700", "1100"}
	for scheme, flag := range map[string]string{"light": "--blink-settings=preferredColorScheme=1", "dark": "--blink-settings=preferredColorScheme=0"} {
		dom, _ := browse(t, url+"/frame?query=refresh%3D0&width="+strings.Join(widths, "&width="), 2, flag)
		var got []struct {
			Width, Room, Texts    int
			Outside, Faint, Small []string
			Back                  string
		}
		results(t, dom, &got)
		require.Len(t, got, len(widths))
		for i, got := range got {
			t.Run(scheme+" "+widths[i], func(t *testing.T) {
				assert.Greater(t, got.Texts, 300)
				assert.LessOrEqual(t, got.Width, got.Room, "it scrolls sideways")
				assert.Empty(t, got.Outside, "outside of its card")
				assert.Empty(t, got.Faint, "a contrast of less than 4.5")
				assert.Empty(t, got.Small, "smaller than 10 pixels")
				backs[got.Back] = true
			})
		}
	}
	require.Len(t, backs, 2, "backgrounds")
}

// It goes on by itself, and what its reader did stays.
func TestThePageRefreshesItselfInPlace(t *testing.T) {
	url, asked := serveBusy(t, `
		const details = page.querySelector("details");
		details.open = true;
		details.querySelector("summary").focus();
		view.scrollTo(0, 700);
		const before = page.querySelector("main"), y = view.scrollY;
		while (page.querySelector("main") === before) await wait(100);
		return {Open: page.querySelectorAll("details[open]").length, Same: page.querySelector("details").open, Focus: page.activeElement.tagName,
			Scroll: view.scrollY === y && y > 0, Text: page.querySelector("main").textContent};`)
	dom, complaints := browse(t, url+"/frame?query=&width=800", 9)
	require.Empty(t, complaints)
	var all []struct {
		Open         int
		Same, Scroll bool
		Focus, Text  string
	}
	results(t, dom, &all)
	require.Len(t, all, 1)
	got := all[0]
	require.GreaterOrEqual(t, asked.Load(), uint64(2))
	require.Contains(t, got.Text, "987,654,323", "what the second answer says")
	require.Equal(t, 1, got.Open)
	require.True(t, got.Same)
	require.True(t, got.Scroll)
	require.Equal(t, "SUMMARY", got.Focus)
}

func TestThePageRefreshesItselfWithoutJavaScript(t *testing.T) {
	url, asked := serveBusy(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a busy machine
	defer cancel()
	cmd := chromium(ctx, t, url+"/debug/turret", "--blink-settings=scriptEnabled=false")
	require.NoError(t, cmd.Start())
	// --dump-dom is a script itself, and virtual time belongs to it.
	assert.Eventually(t, func() bool { return asked.Load() >= 2 }, 2*time.Minute, 50*time.Millisecond)
	cancel()
	cmd.Wait()
}

func TestAPausedPageStays(t *testing.T) {
	url, asked := serveBusy(t, "")
	browse(t, url+"/debug/turret?refresh=0", 12)
	require.EqualValues(t, 1, asked.Load())
}

func TestThePageSaysThatTheProcessIsGone(t *testing.T) {
	var once atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if once.Swap(true) {
			panic(http.ErrAbortHandler)
		}
		debug.Handler(busy(1)).ServeHTTP(w, r)
	}))
	defer srv.Close()
	dom, _ := browse(t, srv.URL, 8)
	has(t, dom, "no answer; what is here is old", "987,654,322")
}
