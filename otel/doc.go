// Package telemetry tells OpenTelemetry what a stack does: by spans, by metrics,
// and by the states that its layers are in.
//
// One call instruments all of a signer's stack, whatever its layers:
//
//	key, err := signer.NewBuilder(provider).
//		Defaults(signer.Defaults{}).
//		Instrument(telemetry.Instrument(telemetry.Options{Name: "web"})).
//		Build(ctx)
//
// Any other stack has two layers for it, outermost and innermost:
//
//	o := telemetry.Options{Name: "files"}
//	b := turret.NewBuilder[string, []byte]()
//	b = turret.With(b, telemetry.Layer, o)
//	b = turret.With(b, retry.Layer, retry.Options{})
//	b = turret.With(b, telemetry.AttemptLayer, o)
//
// The package needs OpenTelemetry's API and not its SDK: which exporters there
// are is the program's choice, by Options or by OpenTelemetry's global providers.
// A stack that is not instrumented runs no code of this package.
//
// # Spans
//
// A call has the span turret.call, of kind internal, and below it each attempt,
// which is a call of the service itself, has the span turret.attempt, of kind
// client. What the service's client makes by the same context, such as the AWS
// SDK's own spans, is below that.
//
//	attribute                    of        value
//	turret.stack.name            both      Options.Name
//	turret.outcome               both      ok, panic, or the error's class: unknown, transient,
//	                                       throttled, permanent, canceled, rejected
//	error.type                   both      the same, unless it is ok
//	error.message                both      what Options.ErrorText says, where it is set
//	turret.attempt               attempt   turret.Attempt: 1 for the first
//	turret.replica               attempt   turret.Replica, below a fan-out
//	turret.signer.algorithm      both      of a signer.Request: ECDSA_SHA_256, …
//	turret.signer.message_type   both      DIGEST or RAW
//	turret.signer.key_id         both      of a signer.Response: the key's ARN, for AWS
//
// The status is Error, with the class, where a call failed; but for class
// canceled, which is how calls end whose caller has gone, and the losers of
// hedges.
//
// What layers do about a call ([turret.Event]) are events of its span, called
// turret.LAYER.KIND, as turret.retry.retry, turret.breaker.change or
// turret.failover.next. Their attributes are turret.layer.type, turret.event.kind,
// turret.replica, error.type and error.message, and whichever has a value of
// turret.event.subject (the event's Name), turret.event.count,
// turret.event.delay (in seconds), turret.event.from and turret.event.to.
//
// # Metrics
//
//	instrument                kind                unit       attributes beside turret.stack.name
//	turret.call.duration      histogram           s          turret.outcome, error.type
//	turret.attempt.duration   histogram           s          turret.outcome, error.type, turret.replica
//	turret.active_calls       up-down counter     {call}
//	turret.active_attempts    up-down counter     {attempt}  turret.replica
//	turret.events             counter             {event}    turret.layer.type, turret.event.kind, turret.replica, error.type
//	turret.LAYER.KEY          observable gauge    s, or none turret.replica, turret.layer.name, turret.layer.number, turret.stack.number, turret.state
//
// What a breaker refuses below a rate limit, which asks it first, are events of the
// layer ratelimit and the kind unready; those of the kind refuse are over the limit.
//
// How many calls and attempts there were is their histogram's count. The last
// line is the states of layers ([turret.Stater]): each number that one has is a
// gauge, a duration in seconds, true 1 and false 0. A state that is a word is a
// gauge for each word that there is, told apart by turret.state: 1 for the one
// that it is, 0 for the others.
//
//	turret.breaker.state               1 for its turret.state among closed, half-open, open
//	turret.breaker.half_open_in        requests, failures, consecutive_failures; of a fleet's breaker shared
//	turret.ratelimit.tokens            queue, rate, burst; of a fleet's limiter fetched in place of tokens,
//	                                   and shared: 0 while it keeps to its local share, without Redis
//	turret.concurrency.in_flight       limit, queue
//	turret.adaptive.in_flight          limit, queue, latency, unloaded_latency
//	turret.retry.budget_left
//	turret.hedge.budget_left           delay
//	turret.throttle.refusal_probability, requests, accepts
//	turret.failover.health             1 for its turret.state among well, ailing, away; failures
//	turret.balance.health              1 for its turret.state among in, on probation; in_flight, latency, failures
//	turret.buffer.queue                waiting_for_room, busy
//	turret.coalesce.flights
//	turret.reconnect.connected         failures, connect_in
//	turret.timeout.limit               of a timeout that learns
//	turret.awskms.state                1 for its turret.state among usable, refused: of a key in one of several
//	                                   Regions; refused_with, 1 for KMS's error code
//
// The attribute turret.layer.name is the layer's own, such as a breaker's.
// A second layer of a kind has turret.layer.number 2, and a second stack of a
// name turret.stack.number 2, and so on. What several stacks share, such as a
// limiter, is observed as a part of each.
//
// Prometheus calls these turret_call_duration_seconds, turret_events_total,
// turret_breaker_state and so on. Throttled attempts a second are
//
//	rate(turret_attempt_duration_seconds_count{turret_outcome="throttled"}[1m])
//
// and attempts a call, which a fault anywhere drives up,
//
//	sum(rate(turret_attempt_duration_seconds_count[1m])) / sum(rate(turret_call_duration_seconds_count[1m]))
//
// # What is not told
//
// Nothing of a request or a response is, but for what the tables above say: no
// message, no digest, no signature. Texts of errors are left out unless asked
// for, as services quote requests in them. Metrics stay small: beyond a hundred
// replicas, or a thousand kinds of events, there is one series for the rest, with
// the attribute otel.metric.overflow.
//
// # Cost
//
// A call with one attempt costs about half a microsecond with OpenTelemetry's
// no-op providers, and the two allocations of their spans; with the SDK's metrics
// one and a half, and four allocations; with spans that are sampled seven and a
// half, and 17 allocations. BenchmarkTelemetry measures it.
package telemetry
