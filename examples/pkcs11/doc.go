// Command pkcs11 signs with a key in a PKCS #11 token, and goes on when the
// token's sessions are killed in the middle.
//
//	go run ./examples/pkcs11    # a throw-away token of SoftHSM's; Debian's package is softhsm2
//	PKCS11_PIN=… go run ./examples/pkcs11 -module /usr/lib/opensc-pkcs11.so -token card -label release
//
// The first makes a token and a key of its own, and kills the sessions as if
// somebody pulled the token and put it back. The second signs one message with
// your key.
//
// PKCS #11 comes as a C library, so this needs cgo and a C compiler.
package main
