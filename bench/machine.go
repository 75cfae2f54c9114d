package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine says where and with what a report was made, a line each.
func machine(commit string, took time.Duration) string {
	var b strings.Builder
	line := func(what, value string) { fmt.Fprintf(&b, "- %s: %s\n", what, value) }
	line("date", time.Now().UTC().Format("2006-01-02"))
	line("machine", fmt.Sprintf("%s, %d CPUs, %s/%s", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH))
	line("Go", strings.TrimPrefix(runtime.Version(), "go"))
	line("turret", commit)
	line("peers", strings.Join(peerVersions(), ", "))
	line("took", took.Round(time.Second).String())
	return b.String()
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// commit is what is measured, as git knows it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// peers are the modules whose versions matter.
var peers = []string{
	"github.com/failsafe-go/failsafe-go",
	"github.com/go-kit/kit",
	"github.com/eapache/go-resiliency",
	"github.com/cenkalti/backoff/v5",
	"github.com/sony/gobreaker/v2",
	"golang.org/x/time",
	"github.com/aws/aws-sdk-go-v2/service/kms",
	"go.step.sm/crypto",
	"github.com/sigstore/sigstore/pkg/signature/kms/aws",
}

// peerVersions asks go, for this program does not hold the peers of overhead's tests.
func peerVersions() []string {
	args := append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, peers...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return []string{"those of go.mod"}
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
