package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		require.NoError(t, run(&out))
		require.Equal(t, 5, strings.Count(out.String(), "  signed\n"))
		require.Contains(t, out.String(), "token: communication error")
		require.Contains(t, out.String(), "timeout: no answer within 200ms")
		<-time.After(time.Minute) // the operations that hung return, and nobody is left
	})
}
