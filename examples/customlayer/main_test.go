package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out))
	require.Contains(t, out.String(), "timeout 5s\naudit\nretry")
	require.Contains(t, out.String(), `"msg":"signed","user":"alice","algorithm":"ECDSA_SHA_256","key":"arn:aws:kms:`)
	require.Contains(t, out.String(), `"msg":"not signed","user":"alice","algorithm":"ECDSA_SHA_256","class":"permanent"`)
	require.NotContains(t, out.String(), "secret")
}
