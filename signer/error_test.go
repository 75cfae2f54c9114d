package signer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/signer"
)

func TestErrorShowsWhatIsOddAboutAKeysID(t *testing.T) {
	for id, want := range map[string]string{
		"alias/web": `signer: alias/web: no`,
		"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": `signer: arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab: no`,
		"ключ":           `signer: ключ: no`,
		"alias/web\n":    `signer: "alias/web\n": no`, // of a file that ends with one
		" alias/web":     `signer: " alias/web": no`,
		`"alias/web"`:    `signer: "\"alias/web\"": no`, // of a file of environment variables
		"a\x1b[2J\u202e": `signer: "a\x1b[2J\u202e": no`,
		"a\xff":          `signer: "a\xff": no`,
	} {
		require.EqualError(t, &signer.Error{KeyID: id, Reason: "no"}, want)
	}
}
