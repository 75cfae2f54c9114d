// Package tool finds the outside programs that examples are tested with.
package tool

import (
	"os"
	"os/exec"
	"testing"
)

// Path returns a program's path. If the program is missing the test is skipped, as
// by Missing, and told which Debian package has it.
func Path(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, name := range []string{name, "/usr/sbin/" + name} { // few users have sbin in their PATH
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, "%s is missing; install it (apt-get install %s) to run this test", name, pkg)
	return ""
}

// Missing skips a test for which the machine lacks something or, if
// TURRET_REQUIRE_TOOLS is set, fails it.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("TURRET_REQUIRE_TOOLS") != "" {
		t.Fatalf(format+", and TURRET_REQUIRE_TOOLS is set", args...)
	}
	t.Skipf(format, args...)
}
