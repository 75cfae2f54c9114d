//go:build !race

package fleet

// processQuota is what the three processes share, in signatures a second.
const processQuota = 500
