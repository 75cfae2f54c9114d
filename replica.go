package turret

import "context"

type replicaKey struct{}

// Replica returns the name of the replica that a call has come to, below a
// fan-out that says so with [WithReplica], and else nothing.
func Replica(ctx context.Context) string {
	name, _ := ctx.Value(replicaKey{}).(string)
	return name
}

// WithReplica returns ctx for calls to the replica of that name.
func WithReplica(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, replicaKey{}, name)
}
