package balance_test

import (
	"testing"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/layertest"
	"github.com/turretgo/turret/middleware/balance"
)

func TestConforms(t *testing.T) {
	layertest.Run(t, func(s turret.Service[int, int]) turret.Service[int, int] {
		return balance.New(balance.Options{}, s, s)
	})
}
