package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// output is a file to be written.
type output struct {
	path string
	data []byte
}

// writeAll writes all outputs, or none: each is written under another name,
// and has its own when all are on the disk. Files that were there are replaced.
func writeAll(outputs ...output) (err error) {
	var staged []string
	defer func() {
		for _, name := range staged { // those that have their own name are gone
			if e := os.Remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	for _, o := range outputs {
		if info, err := os.Lstat(o.path); err == nil && info.IsDir() { // no file replaces it, and others would have been by then
			return fmt.Errorf("%s is a folder, and in the way", o.path)
		}
		name, err := stage(o)
		if err != nil {
			return err
		}
		staged = append(staged, name)
	}
	for i, o := range outputs {
		if err := os.Rename(staged[i], o.path); err != nil {
			for _, done := range outputs[:i] {
				err = errors.Join(err, os.Remove(done.path))
			}
			return err
		}
	}
	return nil
}

// stage writes an output to the disk, beside its place, under a name of its own.
func stage(o output) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(o.path), "."+filepath.Base(o.path)+"-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(o.data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
