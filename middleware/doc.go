// Package middleware is the home of turret's layers, one package each. It has
// no code of its own.
//
// Around a service they go in this order, the outermost first:
//
//	observe → timeout (whole call) → concurrency → retry → hedge → balance or failover → rate limit → adaptive → breaker → timeout (each attempt) → service
//
// What stands above the retry sees a call once, with all its attempts; what
// stands below sees each attempt. So the outer timeout is the caller's patience
// and the inner one turns a hung attempt into an error that can be retried; the
// rate limit stands below the retry, so that retries cannot bypass the quota;
// and the breaker stands where it can count attempts, above the timeout that
// makes hung ones fail. docs/order.md tells more, and the mistakes people make.
package middleware
