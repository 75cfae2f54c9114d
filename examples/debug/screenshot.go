package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The picture's width, and more than its height.
const width, height = 1000, 4000

// screenshot has Chromium write a picture of a page.
func screenshot(ctx context.Context, chromium, url, file string) error {
	dir, err := os.MkdirTemp("", "turret-debug-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	picture := filepath.Join(dir, "page.png")

	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium,
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--hide-scrollbars",
		"--disable-lcd-text", "--font-render-hinting=none", // grey letters, so that the file is small
		"--blink-settings=preferredColorScheme=1", // light
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+picture, url)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its children
	cmd.WaitDelay = 5 * time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return trim(picture, file)
}

// trim writes a picture without the empty part at its end.
func trim(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	whole, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	bounds := whole.Bounds()
	for empty(whole, bounds.Max.Y-1) && bounds.Dy() > 1 {
		bounds.Max.Y--
	}
	bounds.Max.Y = min(bounds.Max.Y+20, whole.Bounds().Max.Y)
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, indexed(whole, bounds)); err != nil {
		return err
	}
	return os.WriteFile(to, small.Bytes(), 0o644)
}

// empty reports whether a row has one colour.
func empty(picture image.Image, y int) bool {
	for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
		if picture.At(x, y) != picture.At(picture.Bounds().Min.X, y) {
			return false
		}
	}
	return true
}

// indexed returns a part of a picture in the 256 colours that it has most of, which
// is a third of the size.
func indexed(picture image.Image, part image.Rectangle) image.Image {
	count := map[color.Color]int{}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			count[picture.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	palette = palette[:min(len(palette), 256)]
	small := image.NewPaletted(part, palette)
	nearest := map[color.Color]uint8{}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			c := picture.At(x, y)
			index, ok := nearest[c]
			if !ok {
				index = uint8(small.Palette.Index(c))
				nearest[c] = index
			}
			small.SetColorIndex(x, y, index)
		}
	}
	return small
}
