package reconnect_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/reconnect"
)

func state(t *testing.T, svc any) string {
	t.Helper()
	s, ok := turret.Inspect(svc).State()
	require.True(t, ok)
	return s.String()
}

func TestStateTellsOfTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok := &token{connect: fails(errRefused)}
		svc := reconnect.New(reconnect.Options{MinBackoff: time.Second, MaxBackoff: time.Second}, tok.open)
		defer func() { require.NoError(t, turret.Close(svc)) }()
		require.Equal(t, "reconnect=[connected=false failures=0 connect_in=0s]", state(t, svc))

		_, err := svc.Call(t.Context(), well)
		require.Error(t, err)
		require.Regexp(t, `^reconnect=\[connected=false failures=1 connect_in=(1s|[5-9]\d\d\.\d+ms)\]$`, state(t, svc))
		<-time.After(2 * time.Second)
		require.Equal(t, "reconnect=[connected=false failures=1 connect_in=0s]", state(t, svc))

		tok.connect = nil
		_, err = svc.Call(t.Context(), func(context.Context) error {
			require.Equal(t, "reconnect=[connected=true failures=1 connect_in=0s]", state(t, svc), "nobody knows yet what it is worth")
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, "reconnect=[connected=true failures=0 connect_in=0s]", state(t, svc))

		_, _ = svc.Call(t.Context(), fails(errKilled))
		require.Equal(t, "reconnect=[connected=false failures=0 connect_in=1s]", state(t, svc))
	})
}

// observed returns a context whose events are appended to the list.
func observed(t *testing.T) (context.Context, *[]turret.Event) {
	var events []turret.Event
	return turret.WithObserver(t.Context(), func(_ context.Context, e turret.Event) { events = append(events, e) }), &events
}

func TestObserversHearOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok := &token{connect: takes(time.Second, errRefused)}
		svc := reconnect.New(reconnect.Options{}, tok.open)
		ctx, events := observed(t)
		call := func(do does) error {
			*events = nil
			_, err := svc.Call(ctx, do)
			return err
		}

		require.ErrorIs(t, call(well), errRefused)
		require.Equal(t, []turret.Event{{Layer: "reconnect", Kind: turret.EventConnect, Delay: time.Second, Err: errRefused}}, *events)

		err := call(well)
		require.ErrorIs(t, err, reconnect.ErrBackoff)
		require.Equal(t, []turret.Event{{Layer: "reconnect", Kind: turret.EventRefuse, Err: err}}, *events)

		<-time.After(time.Minute)
		tok.connect = takes(time.Second, nil)
		require.NoError(t, call(well))
		require.Equal(t, []turret.Event{{Layer: "reconnect", Kind: turret.EventConnect, Delay: time.Second}}, *events)
		require.NoError(t, call(well))
		require.Empty(t, *events, "a call on a connection is no event")

		require.ErrorIs(t, call(fails(errKilled)), errKilled)
		require.Equal(t, []turret.Event{{Layer: "reconnect", Kind: turret.EventBreak, Err: errKilled}}, *events)

		require.NoError(t, turret.Close(svc))
		err = call(well)
		require.ErrorIs(t, err, reconnect.ErrClosed)
		require.Equal(t, []turret.Event{{Layer: "reconnect", Kind: turret.EventRefuse, Err: err}}, *events)
	})
}

func TestAnObserverThatPanicsHoldsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok := &token{}
		svc := reconnect.New(reconnect.Options{}, tok.open)
		ctx := turret.WithObserver(t.Context(), func(context.Context, turret.Event) { panic("observer") })
		require.PanicsWithValue(t, "observer", func() { _, _ = svc.Call(ctx, well) })
		_, err := svc.Call(t.Context(), well)
		require.NoError(t, err)
		require.NoError(t, turret.Close(svc), "which waits for all calls")
		require.Equal(t, []int{1}, tok.closes())
	})
}
