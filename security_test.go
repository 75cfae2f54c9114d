package turret_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	testName   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	testInCode = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// TestEveryClaimOfSECURITYNamesATestThatIsThere: what is renamed or deleted is
// missed, and what is claimed is tested. Each item of SECURITY.md's lists is a claim.
func TestEveryClaimOfSECURITYNamesATestThatIsThere(t *testing.T) {
	there := map[string]bool{}
	for _, file := range look(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range testInCode.FindAllSubmatch(code, -1) {
			there[string(m[1])] = true
		}
	}

	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	for _, m := range testName.FindAllSubmatch(text, -1) {
		require.True(t, there[string(m[1])], "SECURITY.md names %s, and there is no such test", m[1])
	}
	claims := 0
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		for _, item := range strings.Split("\n"+paragraph, "\n- ")[1:] {
			claims++
			require.Regexp(t, testName, item, "SECURITY.md claims it, and names no test")
		}
	}
	require.Greater(t, claims, 20)
}
