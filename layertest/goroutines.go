package layertest

import (
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// NoGoroutineLeft fails the test for each goroutine of its synctest bubble that
// is neither the caller nor about to end, and shows where it is. Time stands
// still meanwhile. It must be called in a bubble.
//
// A bubble fails by itself if goroutines are left blocked when it ends, but not
// with the words of the test, and it waits for those that end later.
func NoGoroutineLeft(t testing.TB) {
	t.Helper()
	for _, stack := range goroutinesLeft() {
		t.Errorf("layertest: a goroutine is left behind:\n%s", stack)
	}
}

// bubbleOf finds a goroutine's bubble in the first line of its stack.
var bubbleOf = regexp.MustCompile(`^goroutine \d+ .*(synctest bubble \d+)\]:`)

// goroutinesLeft returns the stacks of the other goroutines in the caller's
// bubble, but those that make up the bubble.
//
// Only a stack's text tells a goroutine's bubble. Should that text change one
// day, none is found here, and the bubble's own check remains.
func goroutinesLeft() (left []string) {
	synctest.Wait()
	stacks := strings.Split(allStacks(), "\n\n") // the caller's comes first
	own := bubbleOf.FindStringSubmatch(stacks[0])
	if own == nil {
		return nil
	}
	for _, stack := range stacks[1:] {
		header := bubbleOf.FindStringSubmatch(stack)
		if header == nil || header[1] != own[1] || isHarness(stack) {
			continue
		}
		left = append(left, stack)
	}
	return left
}

// isHarness tells the goroutines that synctest.Test needs for itself.
func isHarness(stack string) bool {
	return strings.Contains(stack, "created by testing/synctest.") || strings.Contains(stack, "\ntesting/synctest.Test(")
}

func allStacks() string {
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return string(buf[:n])
		}
		buf = make([]byte, 2*len(buf))
	}
}
