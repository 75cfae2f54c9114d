//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// own reports whether a file belongs to the user that this process runs as.
func own(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// lockFolder waits until no other agent has dir locked, and locks it.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil // which unlocks it
}
