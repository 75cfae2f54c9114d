package awskms

import (
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// refreshPause is how long fresh credentials are left alone. Requests that were
// signed with the old ones fail for a while after, and must not throw away the
// new.
const refreshPause = 10 * time.Second

// refresher has a client ask for new credentials when its own have expired.
type refresher struct {
	mu   sync.Mutex
	last time.Time
}

// refresh drops the credentials that client holds, if they can be had anew.
func (r *refresher) refresh(client API) {
	c, ok := client.(*kms.Client)
	if !ok {
		return
	}
	cache, ok := c.Options().Credentials.(interface{ Invalidate() })
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() || time.Since(r.last) >= refreshPause {
		r.last = time.Now()
		cache.Invalidate()
	}
}
