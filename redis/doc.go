// Package fleet shares a quota, and a circuit breaker, among the replicas of a
// service, through Redis.
//
// # The limiter
//
// A KMS key's quota belongs to the account, not to a process. Fifty replicas
// that each keep to the whole of it are throttled; fifty that each keep to a
// fiftieth leave most of it unused, as load is never even. A [Limiter] counts
// in one place for all:
//
//	rdb := redis.NewClient(&redis.Options{
//		Addr:                  addr,
//		ContextTimeoutEnabled: true,
//		MaxRetries:            -1,
//		DialerRetries:         1,
//	})
//	limiter := fleet.NewLimiter(fleet.LimiterOptions{
//		Client:   rdb,
//		Key:      "kms/rsa",
//		Rate:     500,
//		Replicas: 50,
//	})
//	defer limiter.Close()
//	b = b.RateLimit(ratelimit.Options{Limiter: limiter})
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
// # The breaker
//
// A [Breaker] is the circuit breaker of package breaker, kept in step with those
// of the other replicas:
//
//	b = b.Use(fleet.BreakerLayer[signer.Request, signer.Response](fleet.BreakerOptions{
//		Client:   rdb,
//		Key:      "kms/eu-west-1",
//		Settings: gobreaker.Settings{Name: "kms", Timeout: 10 * time.Second},
//	}))
//
// Each replica has a breaker of its own, which admits and judges its calls, and
// opens on its own results at once. What it counts is also counted in Redis, by
// gobreaker's distributed breaker, with the results of all the others. When that
// one opens, by its own ReadyToTrip, every replica's opens. When it is half-open,
// one replica makes the probes, a second after the other if that one dies; the
// rest stay open. What the probes find is true for all.
//
// Failures are told, and what others found is heard, within a tenth of a second
// while anything is amiss. While all is well, a replica asks Redis after 20
// results, ten times a second at most, or after a second. Asking is one read and
// one write, however many results there are. A replica without calls asks
// nothing: its first call goes by what it knew last.
//
// The fleet's results are counted in the order in which they are told, which is
// batch by batch. A row of failures in it is a row if nobody told of a success in
// between: of a replica whose own network is down, that is soon true, and opens
// the breaker for all. In a fleet, ReadyToTrip should judge by a share of the
// calls, within an Interval.
//
// Used as they are, gobreaker's distributed breakers take a lock in the store,
// keep it during the call, wait for it half a second at a time, and read the
// state before they have it; who dies with the lock leaves it behind, and each
// reckons with its own clock. Here there is no lock: a replica works on a copy,
// which replaces the state if that has not changed since, and else works again.
// Times are by Redis's clock. Redis may forget the state; the replicas know it.
//
// Several Regions are several breakers, each with a Key of its own.
//
// # Without Redis
//
// Signing must not depend on Redis. One goroutine asks it, and only while there
// are callers; an answer that is late, an error or nonsense makes the Limiter
// fall back to a local token bucket, of this replica's share of the quota, and
// the Breaker to its own judgement. They tell OnFallback, go on asking, less and
// less often down to once a second, and tell OnRecover when Redis is back. Their
// State says whether they share, which package debug and telemetry show. No caller
// of the Limiter waits for an answer of Redis longer than Timeout (of two, where the
// first one is that tokens are scarce), none of the Breaker waits for it at all, and
// none fails for its sake.
//
// When Redis goes, the fleet overshoots its quota by what was fetched and one
// local burst a replica. When it comes back, having forgotten the count, that is
// another Burst, and for a second at most, as the replicas notice one after the
// other, the share of those who have not. Where it was gone for less than a second,
// what a replica used on its own meanwhile, up to its burst and a fifth of a
// second's worth of its share, is taken off what Redis grants it next: a Redis that
// is late now and then does not stretch the quota.
//
// What no client can help: a Redis that grants more than it should, that says
// that others have the whole quota, that keeps saying the breaker has opened, that
// announces a reply of gigabytes, for which go-redis makes room at once, or that
// nests one millions deep, where go-redis runs out of stack, and the program ends.
package fleet
