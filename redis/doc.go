// Package fleet shares a quota among the replicas of a service, through Redis.
//
// A KMS key's quota belongs to the account, not to a process. Fifty replicas
// that each keep to the whole of it are throttled; fifty that each keep to a
// fiftieth leave most of it unused, as load is never even. A [Limiter] counts
// in one place for all:
//
//	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	limiter := fleet.NewLimiter(fleet.LimiterOptions{
//		Client:   rdb,
//		Key:      "kms/rsa",
//		Rate:     500,
//		Replicas: 50,
//	})
//	defer limiter.Close()
//	b = b.RateLimit(ratelimit.Options{Limiter: limiter})
//
// # In Redis
//
// The count is one key, kept by redis_rate's script, which is GCRA, the generic
// cell rate algorithm: a token bucket that is one number. Tokens are fetched in
// batches, of about what the replica used in the last twentieth of a second. A
// replica on its own asks some twenty times a second, however much it signs,
// and once a call where calls are rarer than that. While the fleet wants more
// than the quota, each replica that waits asks about sixteen times a second, at
// random moments, and takes what has gathered, for its own waiters only: so
// shares are even, and who wants less leaves the rest to the others.
//
// What Redis has granted is used within a tenth of a second or not at all. So
// the fleet makes, in any stretch of time t, no more than
// Rate × (t + 0.1 s) + Burst calls.
//
// # Without Redis
//
// Signing must not depend on Redis. One goroutine asks it, and only while there
// are callers; an answer that is late, an error or nonsense makes the Limiter
// fall back to a local token bucket, of this replica's share of the quota. It
// tells OnFallback, goes on asking, less and less often down to once a second,
// and tells OnRecover when Redis is back. No caller waits for Redis longer than
// Timeout, and none fails for its sake.
//
// When Redis goes, the fleet overshoots its quota by what was fetched and one
// local burst a replica. When it comes back, having forgotten the count, that
// is another Burst, and for a second at most, as the replicas notice one after
// the other, the share of those who have not.
//
// What no client can help: a Redis that grants more than it should, or that
// says that others have the whole quota.
package fleet
