package signers

import (
	"context"
	"crypto"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/turretgo/turret/middleware/hedge"
	"github.com/turretgo/turret/middleware/ratelimit"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
)

// Told is turret's stack where it is told the quota of the scenario of that name.
var Told = Contender{"turret told 300/s", "Defaults, with the quota as Rate", func(ctx context.Context, t Target) (*Signer, error) {
	return build(ctx, t, func(b signer.Builder) signer.Builder {
		return b.Defaults(signer.Defaults{Rate: ratelimit.Options{Rate: 300}})
	})
}}

func openTurret(ctx context.Context, t Target) (*Signer, error) {
	return build(ctx, t, func(b signer.Builder) signer.Builder { return b.Defaults(signer.Defaults{}) })
}

func openHedged(ctx context.Context, t Target) (*Signer, error) {
	return build(ctx, t, func(b signer.Builder) signer.Builder {
		return b.Hedge(hedge.Options{}).Defaults(signer.Defaults{})
	})
}

func build(ctx context.Context, t Target, stack func(signer.Builder) signer.Builder) (*Signer, error) {
	provider, err := provide(ctx, t)
	if err != nil {
		return nil, err
	}
	s, err := stack(signer.NewBuilder(provider)).Build(ctx)
	if err != nil {
		return nil, err
	}
	return &Signer{
		Signer: s,
		Sign: func(ctx context.Context, digest []byte) ([]byte, error) {
			return s.SignContext(ctx, nil, digest, crypto.SHA256)
		},
		Close: s.Close,
	}, nil
}

func provide(ctx context.Context, t Target) (signer.KeyProvider, error) {
	if t.Client != nil {
		return awskms.New(t.Client, t.KeyID), nil
	}
	return awskms.Open(ctx, "awskms:///"+t.KeyID+"?region="+os.Getenv("AWS_REGION"))
}

// openBorrowed opens turret's stack on a client of the SDK's defaults, which keeps
// 10 idle connections.
func openBorrowed(ctx context.Context, t Target) (*Signer, error) {
	if t.Client == nil {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		t.Client = kms.NewFromConfig(cfg)
	}
	return openUnlimited(ctx, t)
}

// unlimited is the recommended stack without the wait for its quota, 1,000 signatures
// a second, which a benchmark of what signers cost would spend its time in.
var unlimited = signer.Defaults{Rate: ratelimit.Options{Rate: 1e6}}

func openUnlimited(ctx context.Context, t Target) (*Signer, error) {
	return build(ctx, t, func(b signer.Builder) signer.Builder { return b.Defaults(unlimited) })
}

func openUnverified(ctx context.Context, t Target) (*Signer, error) {
	return build(ctx, t, func(b signer.Builder) signer.Builder { return b.Defaults(unlimited).SkipVerify() })
}
