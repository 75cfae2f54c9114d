package main

import (
	"math"
	"slices"
)

// result is what was counted in a scenario's measured time.
type result struct {
	scenario
	demand     []int // signatures asked of each replica
	signed     []int // signatures that each made
	kms        calls
	redisCalls int
}

// goodput is how many signatures were made, of those that the quota and the
// demand allow.
func (r result) goodput() float64 {
	return float64(sum(r.signed)) / math.Min(r.quota(), float64(sum(r.demand)))
}

// quota is how many signatures the KMS serves in the measured time.
func (r result) quota() float64 { return quota * r.length.Seconds() }

// throttled is the share of calls of the KMS that it throttled.
func (r result) throttled() float64 {
	return float64(r.kms.throttled) / float64(r.kms.throttled+r.kms.served)
}

// kmsCallsEach is how many calls of the KMS a signature took.
func (r result) kmsCallsEach() float64 {
	return float64(r.kms.throttled+r.kms.served) / float64(sum(r.signed))
}

// redisCallsEach is how many calls of Redis a signature took.
func (r result) redisCallsEach() float64 { return float64(r.redisCalls) / float64(sum(r.signed)) }

// fairness is Jain's index of what each replica got, over its max-min fair
// share of the quota: 1 if all got the same part of what they deserve, and k/n
// if k of n got that and the others nothing (Jain, Chiu and Hawe, "A Quantitative
// Measure of Fairness", 1984).
func (r result) fairness() float64 {
	fair := maxMin(r.demand, r.quota())
	var parts []float64
	for i, share := range fair {
		if share > 0 { // who asks for nothing cannot be treated unfairly
			parts = append(parts, float64(r.signed[i])/share)
		}
	}
	return jain(parts)
}

func jain(xs []float64) float64 {
	var sum, squares float64
	for _, x := range xs {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(xs)) * squares)
}

// maxMin returns the max-min fair shares of a capacity: who demands little gets
// it, and the others the same each.
func maxMin(demands []int, capacity float64) []float64 {
	order := make([]int, len(demands))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return demands[a] - demands[b] })
	shares := make([]float64, len(demands))
	for k, i := range order {
		shares[i] = math.Min(float64(demands[i]), capacity/float64(len(order)-k))
		capacity -= shares[i]
	}
	return shares
}

func sum(xs []int) (total int) {
	for _, x := range xs {
		total += x
	}
	return total
}
