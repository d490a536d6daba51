"""What the server counts of its own, beside vLLM's metrics. Labels are bounded."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from prometheus_client import REGISTRY as SHARED
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from server.names import plain
from server.report import Applied

MAX_ADAPTER_LABELS = 256
MAX_POLICY_LABELS = 256
_OTHER = "other"
_MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Total(Collector):
    """A count that is kept elsewhere."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name, self._meaning, self._read = name, meaning, read

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The count as it is now."""
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())


class Metrics:
    """One server's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._named: set[str] = set()
        self._policies: set[str] = {""}
        self.routing = Histogram(
            "loralloy_routing_seconds",
            "Time from a request's text to its mixture.",
            ("policy",),
            buckets=_MILLISECONDS,
            registry=self._registry,
        )
        self.prompts = Counter(
            "loralloy_prompts",
            "Prompts by what chose their mixture: a policy, or the request itself.",
            ("policy",),
            registry=self._registry,
        )
        self.weight = Counter(
            "loralloy_adapter_weight",
            "Sum of the weights that prompts gave to an adapter.",
            ("adapter",),
            registry=self._registry,
        )
        self.fallbacks = Counter(
            "loralloy_fallbacks",
            "Prompts for which a policy's fallback answered.",
            ("policy",),
            registry=self._registry,
        )
        self.loads = Histogram(
            "loralloy_adapter_load_seconds",
            "Time to put an adapter into a slot.",
            buckets=_MILLISECONDS,
            registry=self._registry,
        )

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        Gauge(f"loralloy_{name}", meaning, registry=self._registry).set_function(read)

    def watch_total(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show a count since the start that is read when it is asked for."""
        self._registry.register(_Total(f"loralloy_{name}", meaning, read))

    def count(self, applied: Iterable[Applied]) -> None:
        """Count the prompts of one request."""
        for one in applied:
            policy = self._policy_label(one.mixture.policy or "")
            self.prompts.labels(policy).inc()
            if one.decision is not None:
                seconds = (one.decision.encode_ms + one.decision.weigh_ms) / 1e3
                self.routing.labels(policy).observe(seconds)
                if one.decision.fallback is not None:
                    self.fallbacks.labels(policy).inc()
            for member in one.mixture.members:
                self.weight.labels(self._label(plain(member.name))).inc(member.weight)

    def forget(self, adapter: str) -> None:
        """Drop the series of an adapter that is gone."""
        if adapter in self._named:
            self._named.discard(adapter)
            self.weight.remove(adapter)

    def forget_policy(self, policy: str) -> None:
        """Drop the series of a policy that is gone."""
        if policy in self._policies:
            self._policies.discard(policy)
            for metric in (self.routing, self.prompts, self.fallbacks):
                with suppress(KeyError):  # not every policy has all of them
                    metric.remove(policy)

    def exposition(self) -> bytes:
        """Ours and vLLM's, in Prometheus' text format."""
        return generate_latest(self._registry) + generate_latest(SHARED)

    def _policy_label(self, policy: str) -> str:
        if policy not in self._policies:
            if len(self._policies) > MAX_POLICY_LABELS:
                return _OTHER
            self._policies.add(policy)
        return policy

    def _label(self, adapter: str) -> str:
        if adapter not in self._named:
            if len(self._named) >= MAX_ADAPTER_LABELS:
                return _OTHER
            self._named.add(adapter)
        return adapter
