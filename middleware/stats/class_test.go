package stats_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/stats"
)

func TestAClassOfSomebodysOwnCountsAsUnknown(t *testing.T) {
	for _, class := range []turret.Class{turret.Rejected + 1, 200, 254, 255} {
		err := turret.WithClass(errors.New("odd"), class)
		svc := stats.Layer[int, int](stats.Options{})(turret.ServiceFunc[int, int](func(context.Context, int) (int, error) { return 0, err }))
		_, got := svc.Call(t.Context(), 0)
		require.Equal(t, err, got)
		s := snapshot(t, svc)
		require.Equal(t, stats.Counts{Unknown: 1}, s.Total, class)
		require.Len(t, s.Errors, 1)
		require.Equal(t, turret.Unknown, s.Errors[0].Class)
	}
}
