package signertest

import (
	"crypto"
	"fmt"
	"testing"
)

// Deviation is something that a signer does on purpose and that [Run] would
// otherwise fail it for. None lets a wrong signature pass.
type Deviation uint

const (
	// MayTrustOptions signers leave it to their callers to pass options that make
	// sense. Given nil, or the name of a hash function that there is not, they
	// panic or sign, as the standard library's keys do.
	MayTrustOptions Deviation = 1 << iota
	// MayTrustDigests signers sign digests of a length that the hash function does
	// not have, as crypto/ecdsa does.
	MayTrustDigests
	// MayPanicWithoutRand signers panic if rand is nil, as crypto/rsa does for
	// RSA-PSS.
	MayPanicWithoutRand
)

// Run checks that a signer keeps what every crypto.Signer owes to its callers,
// each point in a subtest. What the signer does otherwise on purpose, may says.
//
// Run calls newSigner once before the subtests and once for each of them. It may
// return the same signer each time, or another one, but all of keys of the same
// type: RSA, ECDSA on one curve, Ed25519, ML-DSA. Run closes none of them: who
// makes a signer closes it, with t.Cleanup for one.
//
// A signer has to sign what a KMS pairs with its public key: RSA PKCS #1 v1.5 and
// RSA-PSS with SHA-256, SHA-384 and SHA-512, ECDSA with the hash function of the
// curve, Ed25519 and ML-DSA of messages of 1 to 4,096 bytes. One that signs with fewer
// algorithms, or with more, lists them in a method Algorithms()
// []signer.Algorithm. What is not listed it either refuses, or does rightly all
// the same.
//
// If the signer has a method SignContext like that of *signer.Signer, Run checks
// that too. If it is a [crypto.MessageSigner], its SignMessage gets the messages;
// otherwise crypto.SignMessage makes their digests.
//
// Run makes some hundred signatures, up to 64 at once, and waits for each as long
// as it takes. It finds most under the race detector.
func Run(t *testing.T, newSigner func() crypto.Signer, may ...Deviation) {
	t.Helper()
	var all Deviation
	for _, d := range may {
		all |= d
	}
	for _, c := range checks(newSigner) {
		t.Run(c.name, func(t *testing.T) {
			if why := c.try(t, newSigner, all); why != "" {
				t.Skip(why)
			}
		})
	}
}

// check is one subtest of a run.
type check struct {
	name string
	run  func(*trial)
}

// checks returns those for the type of newSigner's key. If it has no usable key
// there is one check only, which says so.
func checks(newSigner func() crypto.Signer) []check {
	all := []check{{"Public stays the same", (*trial).publicStays}}
	tr, err := newTrial(nil, newSigner, 0)
	if err != nil {
		return all
	}
	for _, a := range tr.family.required {
		all = append(all, check{"signs with " + a.name, func(tr *trial) { tr.signs(a) }})
	}
	return append(all,
		check{"what it may refuse it does rightly", (*trial).refusesOrSigns},
		check{"options that make no sense are refused", (*trial).refusesNonsense},
		check{"digests of a wrong length are refused", (*trial).refusesDigests},
		check{"takes no nonce twice", (*trial).takesNoNonceTwice},
		check{"no rand is no panic", (*trial).bearsNoRand},
		check{"leaves the caller's memory alone", (*trial).leavesMemoryAlone},
		check{"signatures share no memory", (*trial).sharesNoSignature},
		check{"keeps 64 callers apart", (*trial).keepsCallersApart},
		check{"SignContext ends with its context", (*trial).honoursContext},
	)
}

// reporter is what a check needs of a *testing.T.
type reporter interface {
	Errorf(format string, args ...any)
}

// try runs the check with a signer of its own. It returns why there was nothing
// to check, if there was not.
func (c check) try(r reporter, newSigner func() crypto.Signer, may Deviation) (skipped string) {
	tr, err := newTrial(r, newSigner, may)
	if err != nil {
		r.Errorf("%v", err)
		return ""
	}
	c.run(tr)
	return tr.skipped
}

// trial is a check under way.
type trial struct {
	reporter
	signer  crypto.Signer
	family  family // of the signer's key
	may     Deviation
	skipped string
}

func newTrial(r reporter, newSigner func() crypto.Signer, may Deviation) (*trial, error) {
	tr := &trial{reporter: r, may: may}
	var err error
	if p := recovered(func() {
		tr.signer = newSigner()
		tr.family, err = familyOf(tr.signer)
	}); p != nil {
		return nil, fmt.Errorf("making a signer, or its Public, panicked with %v; a signer knows its public key when it is made", p)
	}
	return tr, err
}

// reported reports err, if it is one.
func (tr *trial) reported(err error) bool {
	if err != nil {
		tr.Errorf("%v", err)
	}
	return err != nil
}

// recovered calls f and returns what it panicked with.
func recovered(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
