package kmstest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer/kmstest"
)

func TestStats(t *testing.T) {
	srv := newServer(t)
	id := srv.CreateKey(types.KeySpecEccNistP256)
	assert.Equal(t, kmstest.Stats{Operations: map[string]kmstest.Counts{}}, srv.Stats())

	client := srv.Client()
	_, err := signWith(t.Context(), client, id)
	require.NoError(t, err)
	first := kmstest.Stats{Operations: map[string]kmstest.Counts{"Sign": {Requests: 1, OK: 1}}, Connections: 1}
	then := srv.Stats()
	assert.Equal(t, first, then)

	_, err = signWith(t.Context(), client, "alias/none")
	require.Error(t, err)
	describe(t, client, id)
	assert.Equal(t, map[string]kmstest.Counts{
		"Sign":        {Requests: 2, OK: 1, Refused: 1},
		"DescribeKey": {Requests: 1, OK: 1},
	}, srv.Stats().Operations)
	assert.Equal(t, kmstest.Counts{Requests: 2, OK: 1, Refused: 1}, srv.Stats().Op("Sign"))
	assert.Equal(t, kmstest.Counts{}, srv.Stats().Op("Verify"))
	assert.Equal(t, kmstest.Counts{Requests: 3, OK: 2, Refused: 1}, srv.Stats().Total())
	assert.Equal(t, first, then, "what was given does not change")

	// An HTTP client may open more connections than one, but not on its first request.
	before := srv.Stats().Connections
	describe(t, overTCP(srv), id)
	assert.Equal(t, before+1, srv.Stats().Connections)
}

func TestStatsString(t *testing.T) {
	assert.Equal(t, "0 requests", kmstest.Counts{}.String())
	assert.Equal(t,
		"55 requests, 1 OK, 2 corrupt, 3 refused, 4 throttled, 5 internal, 6 unavailable, 7 reset, 8 hung, 9 canceled, 10 in flight",
		kmstest.Counts{Requests: 55, OK: 1, Corrupt: 2, Refused: 3, Throttled: 4, Internal: 5, Unavailable: 6, Reset: 7, Hung: 8, Canceled: 9, InFlight: 10}.String())
	assert.Equal(t, "(unknown): 1 requests, 1 refused\nSign: 2 requests, 2 OK\nVerify: 0 requests\nconnections: 4",
		kmstest.Stats{
			Operations:  map[string]kmstest.Counts{"Verify": {}, "Sign": {Requests: 2, OK: 2}, "": {Requests: 1, Refused: 1}},
			Connections: 4,
		}.String())
}
