// Package tool finds the outside programs that examples are tested with.
package tool

import (
	"os"
	"os/exec"
	"testing"
)

// Path returns a program's path. Where the program is missing, the test is skipped
// or, if TURRET_REQUIRE_TOOLS is set, fails; either way it says which Debian
// package has it.
func Path(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("TURRET_REQUIRE_TOOLS") != "":
		t.Fatalf("%s is missing, and TURRET_REQUIRE_TOOLS is set; install it (apt-get install %s)", name, pkg)
	}
	t.Skipf("%s is missing; install it (apt-get install %s) to run this test", name, pkg)
	return ""
}
