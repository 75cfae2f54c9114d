package table_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/table"
)

func TestATableIsAlignedMarkdown(t *testing.T) {
	tab := table.Table{Title: "### T", Head: []string{"who", "µs"}}
	tab.Add("turret", "1")
	tab.Add("–", "1000")
	var out strings.Builder
	require.NoError(t, tab.Write(&out))
	require.Equal(t, "### T\n\n| who    |   µs |\n|--------|-----:|\n| turret |    1 |\n| –      | 1000 |\n\n", out.String())
}

func TestFiguresAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12345 * time.Millisecond:  "12.3s",
		1234 * time.Millisecond:   "1.23s",
		123456 * time.Microsecond: "123ms",
		1234 * time.Microsecond:   "1.2ms",
		123456 * time.Nanosecond:  "123µs",
	} {
		require.Equal(t, want, table.Duration(d))
	}
	require.Equal(t, "100 %", table.Percent(1))
	require.Equal(t, "99.9 %", table.Percent(0.9999), "what is not all is not shown as all")
	require.Equal(t, "98.4 %", table.Percent(0.984))
}
