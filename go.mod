module github.com/turretgo/turret

go 1.26.0
