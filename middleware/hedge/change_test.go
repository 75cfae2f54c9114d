package hedge

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What 64 goroutines find seldom on a machine of one core.
func TestABudgetThatChangesMeanwhileIsLookedAtAgain(t *testing.T) {
	for name, meanwhile := range map[string]struct {
		change func(*Budget)
		ok     bool
		left   float64
	}{
		"the last hedge is taken": {func(b *Budget) { b.Withdraw() }, false, 0},
		"another one is put in":   {(*Budget).Deposit, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, looks := NewBudget(1), 0
			b.Deposit()
			ok := b.change(func(had int64) (int64, bool) {
				if looks++; looks == 1 {
					meanwhile.change(b)
				}
				return had - budgetUnits, had >= budgetUnits
			})
			require.Equal(t, meanwhile.ok, ok)
			require.Equal(t, meanwhile.left, b.Left())
			require.Equal(t, 2, looks)
		})
	}
}
