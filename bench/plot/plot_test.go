package plot_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/plot"
)

// elements counts the elements of what must be well-formed XML.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	count := make(map[string]int)
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	svg := plot.Bars("a < b & c", []plot.Bar{{"one", 1, "1 ms"}, {"two", 2, "2 ms"}, {"none", 0, "0"}})
	require.Equal(t, 4, elements(t, svg)["rect"], "and the ground")
	for _, want := range []string{`width="205.0"`, `width="410.0"`, `width="0.0"`, "a &lt; b &amp; c"} {
		require.Contains(t, string(svg), want)
	}
}

func TestLinesStayInTheirFrame(t *testing.T) {
	format := func(v float64) string { return fmt.Sprint(v) }
	svg := plot.Lines("t", plot.Axis{Title: "x", Log: true, From: 0.01, To: 10, Format: format}, plot.Axis{Title: "y", From: 0, To: 1, Format: format},
		[]plot.Series{{"s", []float64{0.001, 0.01, 10, 1000}, []float64{-1, 0, 1, 2}}})
	require.Equal(t, 1, elements(t, svg)["polyline"])
	require.Contains(t, string(svg), `points="60.0,352.0 60.0,352.0 700.0,52.0 700.0,52.0"`)
	for _, tick := range []string{">0.01<", ">0.1<", ">1<", ">10<", ">0.2<", ">0.8<"} {
		require.Contains(t, string(svg), tick)
	}
}
