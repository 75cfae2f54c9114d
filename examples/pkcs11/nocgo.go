//go:build !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "pkcs11: PKCS #11 comes as a C library; build this with CGO_ENABLED=1 and a C compiler, such as gcc")
	os.Exit(1)
}
