package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/turretgo/turret/bench/plot"
)

// LatencyPlot shows how many of a scenario's signatures were there by when, those
// that are wrong or never came not among them.
func LatencyPlot(title string, runs []*Run) []byte {
	seconds := plot.Axis{Title: "time since the signature was asked for", Log: true, From: 0.01, To: 10, Format: func(v float64) string {
		return time.Duration(v * float64(time.Second)).Round(time.Millisecond).String()
	}}
	share := plot.Axis{Title: "share signed", From: 0, To: 1, Format: func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }}
	return plot.Lines(title, seconds, share, each(runs, func(r *Run, s *plot.Series) {
		var took []float64
		for _, c := range r.Calls {
			if c.Signed {
				took = append(took, c.Took.Seconds())
			}
		}
		slices.Sort(took)
		s.X, s.Y = []float64{seconds.From}, []float64{0}
		for i, t := range took {
			s.X, s.Y = append(s.X, t), append(s.Y, float64(i+1)/float64(len(r.Calls)))
		}
		if n := len(s.Y); n > 0 {
			s.X, s.Y = append(s.X, seconds.To), append(s.Y, s.Y[n-1])
		}
	}))
}

// TimelinePlot shows, for when each signature was asked for, how long it took: the
// slowest of each quarter of a second. One that failed has the top of the scale.
func TimelinePlot(title string, runs []*Run) []byte {
	const bin = 250 * time.Millisecond
	end := 0.0
	for _, r := range runs {
		for _, c := range r.Calls {
			end = max(end, c.At.Seconds())
		}
	}
	asked := plot.Axis{Title: "when it was asked for, in seconds", From: 0, To: end, Format: func(v float64) string { return fmt.Sprintf("%.0f", v) }}
	took := plot.Axis{Title: "how long a signature took, in seconds; 15: it failed", From: 0, To: 15, Format: func(v float64) string { return fmt.Sprintf("%.1f", v) }}
	return plot.Lines(title, asked, took, each(runs, func(r *Run, s *plot.Series) {
		for _, c := range r.Calls {
			at := float64(c.At/bin) * bin.Seconds()
			y := c.Took.Seconds()
			if !c.Signed {
				y = took.To
			}
			if n := len(s.X); n > 0 && s.X[n-1] == at {
				s.Y[n-1] = max(s.Y[n-1], y)
				continue
			}
			s.X, s.Y = append(s.X, at), append(s.Y, y)
		}
	}))
}

func each(runs []*Run, points func(*Run, *plot.Series)) []plot.Series {
	var series []plot.Series
	for _, r := range runs {
		s := plot.Series{Name: r.Signer}
		points(r, &s)
		series = append(series, s)
	}
	return series
}
