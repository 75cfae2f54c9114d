package debug

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Handler returns the page of stacks, by their names. It may be mounted at any
// path. It takes GET and HEAD, and of the query:
//
//   - format=json: a [Report] in place of the page
//   - stack=NAME: that stack alone
//   - refresh=0: the page does not refresh itself
//
// Stacks that are added to the map later are not shown. A nil one is, as such.
func Handler(stacks map[string]any) http.Handler {
	return &handler{maps.Clone(stacks), slices.Sorted(maps.Keys(stacks))}
}

type handler struct {
	stacks map[string]any
	names  []string // sorted
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this page is for reading: GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	names := h.names
	only := clean(query.Get("stack")) // as names are on the page
	if only != "" {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return clean(name) != only })
		if len(names) == 0 {
			http.Error(w, "there is no stack "+strconv.Quote(only), http.StatusNotFound)
			return
		}
	}
	var body bytes.Buffer // whole, before any of it goes out
	var err error
	switch format := query.Get("format"); format {
	case "":
		header.Set("Content-Type", "text/html; charset=utf-8")
		err = render(&body, h.report(names), only, query.Get("refresh") != "0")
	case "json":
		header.Set("Content-Type", "application/json")
		encoder := json.NewEncoder(&body)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(h.report(names))
	default:
		http.Error(w, "there is no format "+strconv.Quote(clean(format))+"; format=json is JSON, and none is the page", http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, "the page cannot be written: "+clean(err.Error()), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.Write(body.Bytes()) // nobody is left to tell of an error
}

// report looks at the stacks of these names.
func (h *handler) report(names []string) Report {
	r := Report{Now: time.Now().UTC(), Stacks: []Stack{}}
	for _, name := range names {
		r.Stacks = append(r.Stacks, report(name, h.stacks[name]))
	}
	return r
}
