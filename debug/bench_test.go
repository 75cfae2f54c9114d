package debug_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/turretgo/turret/debug"
)

func BenchmarkPage(b *testing.B) {
	handler := debug.Handler(map[string]any{"web": layer{line: "top", below: []any{counting{layer{line: "verify"}, account}}}})
	for name, query := range map[string]string{"html": "", "json": "?format=json"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/"+query, nil))
			}
		})
	}
}
