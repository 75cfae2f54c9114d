package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/turretgo/turret/bench/faults"
)

// documents are the files that a report fills in, and plots is where its plots go,
// as seen from the folder bench.
var documents = []string{"../docs/benchmarks.md", "../README.md"}

const plotFolder = "../docs/benchmarks"

// runReport runs all benchmarks and writes what they found into the documents. A
// short one leaves the documents alone, and writes copies to o.out.
func runReport(ctx context.Context, o options, stdout io.Writer) error {
	if _, err := os.Stat(documents[0]); err != nil {
		return fmt.Errorf("run it in the folder bench: %w", err)
	}
	start, measured := time.Now(), commit() // before plots are written
	texts := make(map[string]string)
	data := make(map[string]any)
	plots := plotFolder
	if o.short {
		plots = filepath.Join(o.out, "benchmarks")
	}
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"overhead", "scale", "sign", "handshake", "faults"} {
		s, err := commands[name](ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var text bytes.Buffer
		if err := s.write(io.MultiWriter(stdout, &text), o.out); err != nil {
			return err
		}
		texts[name], data[name] = text.String(), s.data
		for name, plot := range s.plots {
			if err := os.WriteFile(filepath.Join(plots, name), plot, 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "report: %s done after %v\n", name, time.Since(start).Round(time.Second))
	}
	texts["machine"] = machine(measured, time.Since(start))
	texts["summary"] = summary(data["faults"].([]faults.Result), data["handshake"].([]handshakeRow))
	for _, document := range documents {
		if err := fillFile(document, o, texts); err != nil {
			return err
		}
	}
	return nil
}

func fillFile(document string, o options, texts map[string]string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	filled, err := fill(string(text), texts)
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	if o.short {
		document = filepath.Join(o.out, filepath.Base(document))
	}
	return os.WriteFile(document, []byte(filled), 0o644)
}

// fill puts each text between the markers of its name:
//
//	<!-- bench:faults -->
//	…
//	<!-- /bench:faults -->
//
// A document has those that it shows.
func fill(document string, texts map[string]string) (string, error) {
	for name, text := range texts {
		begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
		before, rest, ok := strings.Cut(document, begin)
		if !ok {
			continue
		}
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			return "", fmt.Errorf("there is %q, and no %q after it", strings.TrimSpace(begin), end)
		}
		document = before + begin + "\n" + strings.TrimSpace(text) + "\n\n" + end + after
	}
	return document, nil
}
