module github.com/turretgo/turret/bench

go 1.26.0

replace github.com/turretgo/turret => ../

require (
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/sony/gobreaker/v2 v2.4.0
	github.com/turretgo/turret v0.0.0
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	golang.org/x/time v0.16.0 // indirect
)
