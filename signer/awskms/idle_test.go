package awskms

import (
	"runtime"
	"testing"
	"time"
	"weak"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/stretchr/testify/require"
)

func TestACopyIsKeptWhileItsClientIs(t *testing.T) {
	key := func() weak.Pointer[awshttp.BuildableClient] {
		c := awshttp.NewBuildableClient()
		require.Same(t, roomier(c), roomier(c))
		require.NotSame(t, roomier(c), roomier(awshttp.NewBuildableClient()))
		return weak.Make(c)
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		_, kept := copies.Load(key)
		return !kept
	}, 10*time.Second, time.Millisecond)
}
