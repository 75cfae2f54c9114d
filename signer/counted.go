package signer

import (
	"github.com/turretgo/turret/middleware/stats"
)

// counted keeps account of a layer's calls under that layer's own line.
type counted struct {
	Service
	recorder *stats.Recorder
	name     string
	below    []any
}

// newCounted keeps account of svc, a layer of that name around next.
func newCounted(name string, svc, next Service) *counted {
	r := stats.NewRecorder()
	return &counted{stats.Layer[Request, Response](stats.Options{Recorder: r})(svc), r, name, []any{next}}
}

func (c *counted) Stats() stats.Snapshot { return c.recorder.Snapshot() }
func (c *counted) String() string        { return c.name }
func (c *counted) Unwrap() []any         { return c.below }
