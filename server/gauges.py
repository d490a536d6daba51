"""What is counted elsewhere and shown as metrics: read when somebody asks."""

from server.access.access import Access
from server.catalogue.catalogue import Catalogue
from server.engine.engine import EmbeddedEngine
from server.metrics import Metrics
from server.residency.residency import Residency
from server.traces.store import TraceStore


def gauge_slots(metrics: Metrics, residency: Residency, catalogue: Catalogue) -> None:
    """Slots, leases and adapters."""
    metrics.gauge("resident_adapters", "Adapters in slots.", lambda: len(residency.resident))
    metrics.gauge("adapter_slots", "Slots of the engine.", lambda: residency.capacity)
    metrics.gauge(
        "leases", "Leases held, one for each adapter of each request.", lambda: residency.leases
    )
    metrics.gauge("waiting_requests", "Requests that wait for a slot.", lambda: residency.waiting)
    metrics.gauge_total(
        "residency_hits",
        "Requests whose adapters all were in slots.",
        lambda: residency.hits,
    )
    metrics.gauge_total(
        "residency_misses",
        "Requests that waited for an adapter or a slot.",
        lambda: residency.misses,
    )
    metrics.gauge_total(
        "evictions", "Adapters that made room for another one.", lambda: residency.evictions
    )
    metrics.gauge("adapters", "Adapters in the store.", lambda: len(catalogue.names.adapters))


def gauge_callers(metrics: Metrics, access: Access) -> None:
    """Running and refused calls."""
    limiter = access.limiter
    metrics.gauge("running_calls", "Requests that are being served.", lambda: limiter.running)
    metrics.gauge_total(
        "limited_calls", "Requests beyond the limits of their API key.", lambda: limiter.refused
    )


def gauge_traces(metrics: Metrics, store: TraceStore) -> None:
    """Traces and their steps."""
    metrics.gauge("traces", "Traces in memory, running or kept.", lambda: store.traces)
    metrics.gauge("running_traces", "Traces whose answer is being made.", lambda: store.running)
    metrics.gauge("trace_steps", "Steps of all traces.", lambda: store.steps)


def gauge_engine(metrics: Metrics, engine: EmbeddedEngine) -> None:
    """What the engine counts."""
    gauge, gauge_total = metrics.gauge, metrics.gauge_total
    gauge(
        "adapter_uses",
        "Uses of adapters by requests in the engine, one for each adapter of each.",
        lambda: engine.adapter_uses,
    )
    gauge(
        "following_requests",
        "Requests whose weights follow their answer.",
        lambda: engine.following_requests,
    )
    gauge(
        "open_traces",
        "Requests whose weighings are listened to.",
        lambda: engine.open_traces,
    )
    gauge("worker_policies", "Policies in a worker.", lambda: engine.worker.policies)
    gauge("gate_logs", "Requests whose weighings a worker holds.", lambda: engine.worker.gate_logs)
    gauge_total("weighings", "Weighings of running requests.", lambda: engine.worker.weighings)
    gauge_total(
        "failed_weighings",
        "Weighings of running requests that left the weights as they were.",
        lambda: engine.worker.failed_weighings,
    )
    gauge_total("steps", "Steps of the engine.", lambda: engine.worker.steps)
    gauge_total(
        "mixed_steps",
        "Steps in which some token had an adapter.",
        lambda: engine.worker.mixed_steps,
    )
    gauge_total(
        "step_mixtures",
        "Unlike mixtures in each step, summed: over mixed_steps, mixtures a batch.",
        lambda: engine.worker.step_mixtures,
    )
