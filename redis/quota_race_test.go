//go:build race

package fleet

// processQuota is less where the race detector slows everything down, so that
// the machine is not what limits.
const processQuota = 200
