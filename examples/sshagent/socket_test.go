package main

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/examples/internal/tool"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Mode()
}

func TestTheSocketAndItsFolderAreItsOwnersAlone(t *testing.T) {
	dir := filepath.Join(folder(t), "new")
	path := filepath.Join(dir, "agent.sock")
	ln, err := listen(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, mode(t, path))
	require.Equal(t, fs.ModeDir|0o700, mode(t, dir))
	require.NoError(t, ln.Close())
	require.NoFileExists(t, path)
}

func TestAFolderThatOthersCanEnterIsRefused(t *testing.T) {
	for _, perm := range []fs.FileMode{0o755, 0o710, 0o701, 0o770, 0o777 | fs.ModeSticky} {
		dir := filepath.Join(folder(t), "open")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, perm))
		_, err := listen(filepath.Join(dir, "agent.sock"))
		require.ErrorContains(t, err, "so others can enter it and ask for signatures; the socket's folder must have mode 0700 (chmod 700 "+dir+")")
		require.NoFileExists(t, filepath.Join(dir, "agent.sock"))
	}
}

func TestAFolderOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		tool.Missing(t, "only root can give a folder away")
	}
	dir := folder(t)
	require.NoError(t, os.Chown(dir, 12345, -1))
	_, err := listen(filepath.Join(dir, "agent.sock"))
	require.ErrorContains(t, err, "belongs to another user")
}

func TestAFolderThatIsALinkIsRefused(t *testing.T) {
	dir := folder(t)
	link := filepath.Join(folder(t), "link")
	require.NoError(t, os.Symlink(dir, link))
	_, err := listen(filepath.Join(link, "agent.sock"))
	require.ErrorContains(t, err, "is no folder but L")
}

// die leaves a socket behind as an agent does that is killed.
func die(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	require.NoError(t, err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, ln.Close())
	require.Equal(t, fs.ModeSocket, mode(t, path).Type())
}

func TestTheSocketOfADeadAgentIsReplacedByOneOfThoseThatStart(t *testing.T) {
	path := filepath.Join(folder(t), "agent.sock")
	die(t, path)
	var agents sync.WaitGroup
	var listening atomic.Int32
	listeners := make([]net.Listener, 16)
	for i := range listeners {
		agents.Go(func() {
			ln, err := listen(path)
			if err == nil {
				listening.Add(1)
				listeners[i] = ln
			} else if !strings.Contains(err.Error(), "an agent is listening on "+path+" already") {
				t.Error(err)
			}
		})
	}
	agents.Wait()
	require.EqualValues(t, 1, listening.Load())
	conn, err := net.Dial("unix", path)
	require.NoError(t, err, "none of the others removed it")
	conn.Close()
	for _, ln := range listeners {
		if ln != nil {
			ln.Close()
		}
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(folder(t), "agent.sock")
	require.NoError(t, os.WriteFile(path, []byte("a letter"), 0o600))
	_, err := listen(path)
	require.ErrorContains(t, err, "is there already, and is no socket")
	require.FileExists(t, path)
}

func TestAPathThatIsTooLongForASocketIsExplained(t *testing.T) {
	dir := filepath.Join(folder(t), strings.Repeat("d", 150))
	_, err := listen(filepath.Join(dir, "agent.sock"))
	require.ErrorContains(t, err, "and a socket's path has room for about 100; name a shorter one with -socket")
}

func TestAFolderThatCannotBeMadeIsExplained(t *testing.T) {
	_, err := listen(filepath.Join(folder(t), "no", "such", "agent.sock"))
	require.ErrorContains(t, err, "making the folder of the socket")
}
