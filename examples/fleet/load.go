package main

import "math"

// load is what the fleet is asked for.
type load struct {
	name    string
	offered float64 // times the quota
	skewed  bool    // a fifth of the replicas are asked for four fifths of it
}

var loads = []load{
	{"even load, 125 % of the quota", 1.25, false},
	{"uneven load, 125 % of the quota", 1.25, true},
	{"uneven load, 80 % of the quota", 0.80, true},
}

// demand returns how many signatures a second replica i of n is asked for.
func (l load) demand(i, n int) float64 {
	total := l.offered * quota
	if !l.skewed {
		return total / float64(n)
	}
	busy := int(math.Ceil(float64(n) / 5))
	if i < busy {
		return 0.8 * total / float64(busy)
	}
	return 0.2 * total / float64(n-busy)
}
