package buffer

import (
	"strings"

	"github.com/turretgo/turret"
)

// shown is a service that can be described, but not closed: turret.Close goes
// down a stack in its caller's goroutine, while other streams may be in use, and
// has to stop at what a worker owns.
type shown struct{ svc any }

func (s shown) String() string {
	line, _, _ := strings.Cut(turret.Describe(s.svc), "\n")
	return line
}

func (s shown) Unwrap() (below []any) {
	u, ok := s.svc.(interface{ Unwrap() []any })
	if !ok {
		return nil
	}
	for _, svc := range u.Unwrap() {
		below = append(below, shown{svc})
	}
	return below
}
