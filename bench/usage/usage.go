//go:build unix

// Package usage tells what this process has used of the machine.
package usage

import (
	"runtime"
	"syscall"
	"time"
)

// A Reading is what was used so far.
type Reading struct {
	CPU    time.Duration // user and system, of this process
	Allocs uint64
	Bytes  uint64
}

// Read reads now. It stops the world for a moment.
func Read() Reading {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails for a bad argument only
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Reading{
		CPU:    time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Allocs: m.Mallocs,
		Bytes:  m.TotalAlloc,
	}
}

// Since returns what was used since r was read.
func (r Reading) Since() Reading {
	now := Read()
	return Reading{now.CPU - r.CPU, now.Allocs - r.Allocs, now.Bytes - r.Bytes}
}
