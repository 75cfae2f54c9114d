package debug

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longest is how many runes of a text are shown.
const longest = 500

// clean makes a text of anybody's fit to be shown: short, of valid UTF-8, and
// without characters that are not seen or turn others around. Lines stay apart.
func clean(s string) string {
	var b strings.Builder
	for n := 0; s != ""; n++ {
		if n == longest {
			return b.String() + "…"
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		b.WriteRune(visible(r))
	}
	return b.String()
}

func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case r < ' ':
		return '␀' + r // its picture
	case r == 0x7f:
		return '␡'
	case r == '\u200c' || r == '\u200d': // joiners, which scripts and emoji need
		return r
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
		return utf8.RuneError
	}
	return r
}

// whole returns a number with its thousands apart.
func whole[T int64 | uint64](n T) string {
	s, sign := strconv.FormatInt(int64(n), 10), ""
	if n > math.MaxInt64 {
		s = strconv.FormatUint(uint64(n), 10)
	}
	if s[0] == '-' {
		s, sign = s[1:], "−"
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// decimal returns a number with about three digits.
func decimal(f float64) string {
	size := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0) || size >= 1e15:
		return strconv.FormatFloat(f, 'g', 3, 64)
	case size >= 99.95 || f == math.Trunc(f):
		return whole(int64(math.Round(f)))
	case size >= 9.995:
		return digits(f, 1)
	case size >= 0.01:
		return digits(f, 2)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// digits returns f with so many digits behind the point, but no zeros at the end.
func digits(f float64, n int) string {
	s := strconv.FormatFloat(f, 'f', n, 64)
	return strings.Replace(strings.TrimSuffix(strings.TrimRight(s, "0"), "."), "-", "−", 1)
}

// percent returns a share of one.
func percent(f float64) string {
	switch {
	case f > 0 && f < 0.001:
		return "< 0.1 %"
	case f < 1 && f > 0.999:
		return "> 99.9 %"
	}
	return digits(f*100, 1) + " %"
}

// seconds returns a duration as people say it.
func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

func span(d time.Duration) string {
	if d < 0 {
		return "−" + span(-max(d, -math.MaxInt64))
	}
	s := d.Seconds()
	switch {
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	case s < 0.0009995:
		return decimal(math.Round(s*1e6)) + " µs"
	case s < 0.00995:
		return digits(s*1e3, 1) + " ms"
	case s < 0.9995:
		return decimal(math.Round(s*1e3)) + " ms"
	case s < 9.995:
		return digits(s, 2) + " s"
	case s < 59.95:
		return digits(s, 1) + " s"
	}
	return long(d.Round(time.Second))
}

// long returns a duration of a minute or more, in its two greatest units.
func long(d time.Duration) string {
	for _, u := range []struct {
		length, next time.Duration
		name, then   string
	}{
		{24 * time.Hour, time.Hour, " d", " h"},
		{time.Hour, time.Minute, " h", " min"},
		{time.Minute, time.Second, " min", " s"},
	} {
		if d < u.length {
			continue
		}
		s := whole(int64(d/u.length)) + u.name
		if rest := d % u.length / u.next; rest > 0 {
			s += " " + whole(int64(rest)) + u.then
		}
		return s
	}
	return ""
}

// ago returns how long before now t was, in whole seconds.
func ago(now, t time.Time) string {
	d := now.Sub(t).Truncate(time.Second)
	if d <= 0 {
		return "just now"
	}
	return span(d) + " ago"
}

// clock returns the time of day of t, and its date unless that is today.
func clock(now, t time.Time) string {
	t = t.In(now.Location())
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05.000")
}
