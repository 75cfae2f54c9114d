package main

import (
	"golang.org/x/time/rate"

	"github.com/turretgo/turret/middleware/ratelimit"
)

// strategy is how the replicas of a fleet keep to their quota.
type strategy struct {
	name    string
	limiter func(fleet) ratelimit.Limiter // one replica's, or nil
}

// fleet is what a strategy may know of its own.
type fleet struct {
	replicas int
	redis    *sharedRedis
}

var strategies = []strategy{
	{"no limiter", func(fleet) ratelimit.Limiter { return nil }},
	{"static split", func(f fleet) ratelimit.Limiter { return ratelimit.New(quota/rate.Limit(f.replicas), 0) }},
	{"adaptive", func(fleet) ratelimit.Limiter {
		return ratelimit.NewAdaptive(ratelimit.AdaptiveOptions{Ceiling: quota})
	}},
	{"shared", func(f fleet) ratelimit.Limiter { return f.redis.limiter(f.replicas) }},
}
