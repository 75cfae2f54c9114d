package debug_test

import (
	"context"
	"errors"
	"log"
	"net/http"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/debug"
	"github.com/turretgo/turret/middleware/stats"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
)

// A signer, and a stack of another kind, which needs a layer that keeps account.
func ExampleHandler() {
	provider, err := awskms.Open(context.Background(), "awskms:///alias/web?region=eu-west-1")
	if err != nil {
		log.Fatal(err)
	}
	web, err := signer.NewBuilder(provider).Defaults(signer.Defaults{}).Build(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	lookup := turret.With(turret.NewBuilder[string, []byte](), stats.Layer, stats.Options{}).
		ServiceFunc(func(context.Context, string) ([]byte, error) { return nil, errors.New("not written yet") })

	mux := http.NewServeMux()
	mux.Handle("GET /debug/turret", debug.Handler(map[string]any{"web": web, "lookup": lookup}))
	log.Fatal(http.ListenAndServe("localhost:6060", mux)) // where the public does not come
}
