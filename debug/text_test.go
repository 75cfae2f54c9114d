package debug

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestDurationsAreAsPeopleSayThem(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0 s":         0,
		"17 ns":       17,
		"1 µs":        time.Microsecond,
		"999 µs":      999_400,
		"1 ms":        999_900,
		"1.2 ms":      1_240 * time.Microsecond,
		"9.9 ms":      9_940 * time.Microsecond,
		"10 ms":       9_960 * time.Microsecond,
		"38 ms":       38_200 * time.Microsecond,
		"999 ms":      999 * time.Millisecond,
		"1 s":         999_600 * time.Microsecond,
		"1.24 s":      1240 * time.Millisecond,
		"12.4 s":      12_440 * time.Millisecond,
		"59.9 s":      59_900 * time.Millisecond,
		"1 min":       59_960 * time.Millisecond,
		"2 min 5 s":   125 * time.Second,
		"1 h":         time.Hour,
		"3 h 12 min":  3*time.Hour + 12*time.Minute + 40*time.Second,
		"1,000 d 1 h": 24001 * time.Hour,
		"−1.5 s":      -1500 * time.Millisecond,
	} {
		require.Equal(t, want, span(d), "%d", d)
	}
	require.NotPanics(t, func() { span(math.MinInt64) })
}

func TestNumbersHaveAFewDigits(t *testing.T) {
	for want, f := range map[string]float64{
		"0": 0, "1": 1, "0.25": 0.25, "0.004": 0.004, "1.5": 1.5, "12.3": 12.34, "100": 99.96, "1,235": 1234.6, "1,000,000": 1e6,
		"−3": -3, "−2.5": -2.5, "1e+15": 1e15, "NaN": math.NaN(), "+Inf": math.Inf(1),
	} {
		require.Equal(t, want, decimal(f))
	}
	require.Equal(t, "−9,223,372,036,854,775,808", whole(int64(math.MinInt64)))
	require.Equal(t, "18,446,744,073,709,551,615", whole(uint64(math.MaxUint64)))
	for want, f := range map[string]float64{"0 %": 0, "< 0.1 %": 0.0001, "0.2 %": 0.002, "12.5 %": 0.125, "> 99.9 %": 0.9999, "100 %": 1} {
		require.Equal(t, want, percent(f))
	}
}

func TestTimesOfOtherDaysHaveTheirDate(t *testing.T) {
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	require.Equal(t, "07:59:48.000", clock(now, now.Add(-12*time.Second)))
	require.Equal(t, "2026-11-20 20:00:00.000", clock(now, now.Add(-12*time.Hour)))
	require.Equal(t, "2025-11-21 08:00:00.000", clock(now, now.AddDate(-1, 0, 0)))
	require.Equal(t, "12 s ago", ago(now, now.Add(-12700*time.Millisecond)))
	require.Equal(t, "just now", ago(now, now.Add(time.Second)))
}

func TestALineIsWhatItIsAndHowItIsConfigured(t *testing.T) {
	for line, name := range map[string]string{
		"retry 100 attempts":     "retry",
		"rate limit 1000/s":      "rate limit",
		"breaker db (opens)":     "breaker",
		"reconnect, backoff 1s":  "reconnect",
		"AWS KMS arn:aws:kms":    "AWS KMS",
		"signer ECDSA P-256":     "signer",
		"timelines":              "timelines",
		"*rsa.PrivateKey":        "*rsa.PrivateKey",
		"":                       "",
		"\nretry on a next line": "\nretry on a next line",
	} {
		got, rest := split(line)
		require.Equal(t, name, got)
		require.Equal(t, line, got+rest)
	}
}

func TestWhatIsNotSeenIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"web\u200b":              "web\ufffd", // zero width, which would be another stack of the same name
		"\ufeffweb":              "\ufffdweb",
		"kms\u00ad/eu":           "kms\ufffd/eu",
		"a\u2028b\u2029c":        "a\ufffdb\ufffdc",
		"tag\U000e0041":          "tag\ufffd",
		"\u202egnp":              "\ufffdgnp",
		"می\u200cخواهم 👩\u200d💻": "می\u200cخواهم 👩\u200d💻", // which need their joiners
	} {
		require.Equal(t, want, clean(text))
	}
}

func FuzzCleanTextIsShortAndValid(f *testing.F) {
	for _, s := range []string{"plain", "\xff\x00\x1b[31m\u202e\u2066", strings.Repeat("é", 600), "a\nb\tc\x7f\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), longest+1)
		require.NotContains(t, strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\t' {
				return '!'
			}
			return -1
		}, got), "!")
		require.Equal(t, got, clean(got), "it stays as it is")
	})
}
