// Package soak makes very many signatures through turret's stacks while their KMS
// fails in every way that kmstest knows, callers lose their patience and layers
// panic, and then draws up the balance: that no call was lost, that no signature is
// wrong, that nothing was left behind, and that what the stack counted is what the
// KMS counted.
//
// The KMS of each stack is a kmstest in this process, reached through connections
// in memory, for a soak is about how calls end and not about what a network costs.
// HTTP, the SDK and the cryptography are the real ones.
//
//	go run . soak          # a million signatures
//	go run . soak -short   # some seconds
//	go test ./soak         # a few thousand, in virtual time
package soak
