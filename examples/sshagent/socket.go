package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// listen makes the agent's socket at path, for its owner alone. Closing the
// listener removes it.
//
// What keeps others away, from the first moment on, is the folder: it is made
// here with mode 0700, or refused if anybody else can enter it. The socket of an
// agent that died is replaced, that of a living one is not, and nor is what is no
// socket.
func listen(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the folder of the socket: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	// Of several agents that start, one at a time looks for a dead one's socket.
	unlock, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	defer unlock()
	if err := removeDead(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("%w: it has %d bytes, and a socket's path has room for about 100; name a shorter one with -socket", err, len(path))
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// private returns an error unless dir is the user's own, and nobody else's to enter.
func private(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder but %v; name the socket by a folder's own path", dir, info.Mode().Type())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s has mode %#o, so others can enter it and ask for signatures; the socket's folder must have mode 0700 (chmod 700 %[1]s)", dir, info.Mode().Perm())
	case !own(info):
		return fmt.Errorf("%s belongs to another user, who could put another socket in its place; the socket's folder must be your own", dir)
	}
	return nil
}

// removeDead removes the socket at path, if there is one and nobody listens.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and is no socket; remove it, or name another path with -socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	if err == nil {
		conn.Close()
	}
	return fmt.Errorf("an agent is listening on %s already; end it, or name another path with -socket", path)
}
