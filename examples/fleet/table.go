package main

import (
	"fmt"
	"io"
)

// printTables prints a table for each load.
func printTables(w io.Writer, results []result) {
	for i, r := range results {
		if i == 0 || r.load != results[i-1].load {
			fmt.Fprintf(w, "\n%s:\n\n", r.load.name)
			fmt.Fprintln(w, "| replicas | limiter | goodput | throttled | fairness | KMS calls a signature | Redis calls a signature |")
			fmt.Fprintln(w, "|---:|---|---:|---:|---:|---:|---:|")
		}
		fmt.Fprintln(w, r.row())
	}
}

func (r result) row() string {
	redis := "" // not used
	if r.redisCalls > 0 {
		redis = fmt.Sprintf("%.2f", r.redisCallsEach())
	}
	return fmt.Sprintf("| %s | %s | %.1f %% | %.1f %% | %.2f | %.2f | %s |",
		thousands(r.replicas), r.strategy.name, 100*r.goodput(), 100*r.throttled(), r.fairness(), r.kmsCallsEach(), redis)
}

// thousands writes a number below a million as people do.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
