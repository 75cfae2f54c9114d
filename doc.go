// Package turret is Tower for Go: a generic service, layers that wrap it, and
// the few words they share.
package turret
