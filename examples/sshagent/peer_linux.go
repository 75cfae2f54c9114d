package main

import (
	"log/slog"
	"net"
	"syscall"
)

// peer says, for the log, which process is at the other end of conn.
func peer(conn net.Conn) slog.Attr {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return slog.Attr{}
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return slog.Attr{}
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return slog.Attr{}
	}
	return slog.Group("peer", "pid", cred.Pid, "uid", cred.Uid)
}
