package rounded_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/middleware/internal/rounded"
)

func TestDurationIsRoundedToWhatAReaderNeeds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0s",
		1_499 * time.Nanosecond: "1µs",
		499_999_747:             "500ms",
		996_190_387:             "996ms",
		5_949_999_999:           "5.9s",
		time.Minute + 1:         "1m0s",
	} {
		require.Equal(t, want, rounded.Duration(d).String())
	}
}
