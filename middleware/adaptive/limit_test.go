package adaptive

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Between the moment a permit is free and the moment it is handed on, whoever
// comes by must leave it to those that wait.
func TestAFreePermitIsForThoseThatWait(t *testing.T) {
	l := New(Options{MaxQueue: NoQueue})
	l.waiting.Store(1)
	_, err := l.acquire(t.Context(), nil)
	require.ErrorIs(t, err, ErrLimited)
	require.ErrorIs(t, l.ready(), ErrLimited)
	l.waiting.Store(0)
	_, err = l.acquire(t.Context(), nil)
	require.NoError(t, err)
}
