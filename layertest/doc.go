// Package layertest is for people who write layers: a service that answers by a
// script, and a run of checks that any layer should pass.
//
// [Run] is the conformance run, and takes a line:
//
//	func TestConformance(t *testing.T) {
//		layertest.Run(t, audit.Layer[int, int](audit.Options{}))
//	}
//
// It holds a layer to what the layers around it rely on: that it hands on
// requests, responses, context values and deadlines; that it ends soon after its
// context; that an error below can be found with errors.Is, and means above what
// it meant below; that a panic comes up in the caller, and costs no permit; that
// it mixes up no callers, leaves no goroutine, and can be looked through. A layer
// with a State is looked at beside its calls. What a layer does otherwise on
// purpose, a [Deviation] says.
//
// [Mock] is the service for tests of what is special about a layer:
//
//	mock := layertest.NewMock[string, int](t).Fail(errDown).Respond(7)
//	svc := retry.Layer[string, int](retry.Options{})(mock)
//
// Both are at home in the bubbles of testing/synctest, where waiting takes no
// time.
package layertest
