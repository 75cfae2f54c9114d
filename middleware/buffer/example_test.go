package buffer_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/turretgo/turret"
	"github.com/turretgo/turret/middleware/buffer"
)

// counter is not safe for concurrent use, nor need it be.
type counter struct{ n int }

func (c *counter) Call(_ context.Context, add int) (int, error) {
	c.n += add
	return c.n, nil
}

func (c *counter) Close() error {
	fmt.Println("closed at", c.n)
	return nil
}

func (c *counter) String() string { return "counter" }

func ExampleLayer() {
	b := turret.NewBuilder[int, int]()
	b = turret.With(b, buffer.Layer, buffer.Options{Capacity: 16})
	svc := b.Service(&counter{})
	fmt.Println(turret.Describe(svc))

	ctx := context.Background()
	fmt.Println(svc.Call(ctx, 2))
	fmt.Println(svc.Call(ctx, 3))
	_ = turret.Close(svc)
	_, err := svc.Call(ctx, 4)
	fmt.Println(errors.Is(err, buffer.ErrClosed), err)
	// Output:
	// buffer 16, refuses when full
	// counter
	// 2 <nil>
	// 5 <nil>
	// closed at 5
	// true buffer: closed
}

// Two owners share a worker; the last one to close its stream ends it.
func ExampleBuffer_Clone() {
	one := buffer.New(&counter{}, buffer.Options{})
	other := one.Clone()

	ctx := context.Background()
	fmt.Println(one.Call(ctx, 1))
	_ = one.Close()
	fmt.Println(other.Call(ctx, 1))
	_ = other.Close()
	// Output:
	// 1 <nil>
	// 2 <nil>
	// closed at 2
}

func ExampleBuffer_Abort() {
	svc := buffer.New(&counter{}, buffer.Options{})
	svc.Abort(errors.New("the card was pulled out"))
	_ = svc.Shutdown(context.Background()) // waits for the handler's Close
	_, err := svc.Call(context.Background(), 1)
	fmt.Println(err)
	// Output:
	// closed at 0
	// buffer: closed: the card was pulled out
}
