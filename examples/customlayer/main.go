// Command customlayer adds a layer of one's own to a signing stack: an audit log
// of who signed what kind of thing with which key, and how that went. The layer
// is the function audit, in less than thirty lines.
package main

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/retry"
	"github.com/turretgo/turret/signer"
	"github.com/turretgo/turret/signer/awskms"
	"github.com/turretgo/turret/signer/kmstest"
)

// user is the context key of who asks for a signature.
type user struct{}

// audit logs each signature that was asked for. Above the retry it sees the whole
// of a call; below, it would see every attempt. It logs no message and no
// digest, which may be secret.
func audit(logger *slog.Logger) signer.Layer {
	return turret.LayerFunc("audit", func(ctx context.Context, req signer.Request, next signer.Service) (signer.Response, error) {
		resp, err := next.Call(ctx, req)
		record := logger.With("user", ctx.Value(user{}), "algorithm", req.Algorithm)
		if err != nil {
			record.ErrorContext(ctx, "not signed", "class", turret.Outcome(ctx, err), "error", err)
			return resp, err
		}
		record.InfoContext(ctx, "signed", "key", resp.KeyID)
		return resp, nil
	})
}

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer) error {
	srv := kmstest.NewServer() // stands for AWS
	defer srv.Close()
	keyID := srv.CreateKey(types.KeySpecEccNistP256)

	ctx := context.WithValue(context.Background(), user{}, "alice")
	key, err := signer.NewBuilder(awskms.New(srv.Client(), keyID)).
		Timeout(5 * time.Second).
		Use(audit(slog.New(slog.NewJSONHandler(w, nil)))).
		Retry(retry.Options{MaxAttempts: 4}).
		Build(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	fmt.Fprintf(w, "%s\n\n", turret.Describe(key))

	if _, err := key.WithContext(ctx).SignMessage(nil, []byte("secret"), crypto.SHA256); err != nil {
		return err
	}
	srv.Deny(keyID)
	if _, err := key.WithContext(ctx).SignMessage(nil, []byte("secret"), crypto.SHA256); err == nil {
		return fmt.Errorf("a denied signature was made")
	}
	return nil
}
