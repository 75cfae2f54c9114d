package reconnect

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A call may hold a connection in its hand, and only now want to count itself in.
func TestConnectionThatAllHaveGivenUpTakesNoMoreCalls(t *testing.T) {
	var c connection[int, int]
	c.users.Store(1)
	require.True(t, c.acquire())
	c.users.Add(-2)
	require.False(t, c.acquire())
	require.Zero(t, c.users.Load())
}
