package steer_test

import (
	"context"
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/steer"
)

func TestConforms(t *testing.T) {
	layertest.Run(t, func(s turret.Service[int, int]) turret.Service[int, int] {
		return steer.New(func(context.Context, int) string { return "it" }, map[string]turret.Service[int, int]{"it": s})
	})
}
