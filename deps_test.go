package turret_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/deps.txt anew")

const self = "github.com/turretgo/turret"

// TestDependencies compares what each package of the module is built of with a
// list for people to read: a new dependency shows in a review. It is for one
// platform, so that it is the same on all.
//
// A package that is meant to have a new one gets it by
//
//	go test -run TestDependencies -update .
func TestDependencies(t *testing.T) {
	got := dependencies(t)
	require.Equal(t, map[string]bool{}, got[self], "the root package imports the standard library only")
	for pkg, deps := range got {
		for dep := range deps {
			require.False(t, isAWS(dep) && mayNotUseAWS(pkg), "%s depends on %s", pkg, dep)
			upwards := strings.HasPrefix(pkg, self+"/middleware/") && strings.HasPrefix(dep, self+"/signer")
			require.False(t, upwards, "%s depends on %s; imports go the other way", pkg, dep)
		}
	}

	const golden = "testdata/deps.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(listed(got)), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	was, is := strings.Split(string(want), "\n\n"), strings.Split(listed(got), "\n\n")
	for _, pkg := range is {
		if !slices.Contains(was, pkg) {
			t.Errorf("%s does not have, and will if you run go test -run TestDependencies -update . :\n%s", golden, pkg)
		}
	}
	for _, pkg := range was {
		if !slices.Contains(is, pkg) {
			t.Errorf("%s has, and will not have any more:\n%s", golden, pkg)
		}
	}
}

// mayNotUseAWS reports whether a package has to do without the AWS SDK.
func mayNotUseAWS(pkg string) bool {
	return !slices.Contains([]string{self + "/signer/awskms", self + "/signer/kmstest"}, pkg)
}

func isAWS(module string) bool { return strings.HasPrefix(module, "github.com/aws/") }

// dependencies returns what each package of the module depends on, by whatever
// way: packages of the module, and modules of others. The standard library is left
// out, and so are tests.
func dependencies(t *testing.T) map[string]map[string]bool {
	module := map[string]string{} // of every package that is not the standard library's
	for _, line := range goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Module.Path}}{{end}}", "./...") {
		pkg, mod, _ := strings.Cut(line, " ")
		module[pkg] = mod
		if mod == self {
			module[pkg] = pkg
		}
	}
	look(t) // or go test would not know that a result is old
	all := map[string]map[string]bool{}
	for _, line := range goList(t, "-f", "{{.ImportPath}}{{range .Deps}} {{.}}{{end}}", "./...") {
		fields := strings.Fields(line)
		all[fields[0]] = map[string]bool{}
		for _, dep := range fields[1:] {
			if mod, ok := module[dep]; ok {
				all[fields[0]][mod] = true
			}
		}
	}
	return all
}

// look looks at every folder of the repository.
func look(t *testing.T) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != "." {
			return fs.SkipDir
		}
		files = append(files, file)
		return err
	}))
	return files
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOPROXY=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// listed writes dependencies for people to read.
func listed(all map[string]map[string]bool) string {
	var b strings.Builder
	b.WriteString("What each package is built of, beside the standard library. See deps_test.go.\n")
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n%s\n", path.Join("turret", strings.TrimPrefix(pkg, self)))
		var deps []string
		for dep := range all[pkg] {
			if inside, ok := strings.CutPrefix(dep, self); ok {
				dep = path.Join("turret", inside)
			}
			deps = append(deps, "    "+dep+"\n")
		}
		slices.Sort(deps)
		b.WriteString(strings.Join(deps, ""))
	}
	return b.String()
}
