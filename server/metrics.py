"""What the server counts of its own, beside vLLM's metrics. Labels are bounded."""

import math
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from prometheus_client import REGISTRY as SHARED
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from adapters.names import plain
from server.traces.applied import Applied

MAX_ADAPTER_LABELS = 256
MAX_POLICY_LABELS = 256
ADAPTERS_OF_REQUESTS: Final = "vllm:lora_requests_info"
"""The gauge by which gateways choose a server: under vLLM's name and with its labels. vLLM's own
knows of no request's adapters here, since mixtures do not go by its LoRA requests."""

_OTHER = "other"
_ADAPTERS = (1.01, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 16.0)
_MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Total(Collector):
    """A count that is kept elsewhere."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name, self._meaning, self._read = name, meaning, read

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The count as it is now."""
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())


class AdaptersOfRequests(Collector):
    """The adapters of the requests that run, and of those that wait for a slot.

    One sample, whose labels are the names as of now and whose value is the time, in seconds since
    1970 (UTC). Where nothing runs or waits they are empty, as gateways expect of an idle server.

    Args:
        slots: of the engine.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: Counts[str] = Counts()
        self._waiting: Counts[str] = Counts()

    @contextmanager
    def running(self, names: Iterable[str]) -> Iterator[None]:
        """Count a request's adapters as running for the length of the block."""
        with _counted(self._running, names):
            yield

    @contextmanager
    def waiting(self, names: Iterable[str]) -> Iterator[None]:
        """Count a request's adapters as waited for, for the length of the block."""
        with _counted(self._waiting, names):
            yield

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The sample."""
        labels = ("max_lora", "running_lora_adapters", "waiting_lora_adapters")
        family = GaugeMetricFamily(
            ADAPTERS_OF_REQUESTS, "Adapters of running and of waiting requests.", labels=labels
        )
        named = (",".join(sorted(counts)) for counts in (self._running, self._waiting))
        family.add_metric([str(self._slots), *named], time.time())
        yield family


@contextmanager
def _counted(counts: "Counts[str]", names: Iterable[str]) -> Iterator[None]:
    held = {plain(name) for name in names}
    counts.update(held)
    try:
        yield
    finally:
        counts.subtract(held)
        for name in held:
            if not counts[name]:
                del counts[name]


class Metrics:
    """One server's metrics, in a registry of its own.

    Args:
        slots: of the engine.

    Attributes:
        adapters: of the requests that run and wait.
    """

    def __init__(self, slots: int = 0) -> None:
        self._registry = CollectorRegistry()
        self.adapters = AdaptersOfRequests(slots)
        self._registry.register(self.adapters)
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
        self.tokens = Counter(
            "loralloy_adapter_tokens",
            "Generated tokens by adapter, each shared out by weight; adapter '' is the base model.",
            ("adapter",),
            registry=self._registry,
        )
        self.effective = Histogram(
            "loralloy_effective_adapters",
            "Adapters that a mixture amounts to: exp of the entropy of its weights.",
            buckets=_ADAPTERS,
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

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        Gauge(f"loralloy_{name}", meaning, registry=self._registry).set_function(read)

    def gauge_total(self, name: str, meaning: str, read: Callable[[], float]) -> None:
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
            if one.mixture.members:
                weights = [member.weight for member in one.mixture.members]
                self.effective.observe(effective_number(weights))

    def count_tokens(self, weights: Mapping[str, float], base_share: float, tokens: int) -> None:
        """Count tokens that adapters of these weights made, beside a share of the base model."""
        whole = sum(weights.values()) + base_share
        if not tokens:
            return
        if whole <= 0:
            self.tokens.labels("").inc(tokens)
            return
        if base_share > 0:
            self.tokens.labels("").inc(tokens * base_share / whole)
        for name, weight in weights.items():
            self.tokens.labels(self._label(plain(name))).inc(tokens * weight / whole)

    @staticmethod
    def leave_out(name: str) -> None:
        """Show a metric of vLLM's no longer, if there is one of that name."""
        collector = SHARED._names_to_collectors.get(name)
        if collector is not None:
            SHARED.unregister(collector)

    def forget(self, adapter: str) -> None:
        """Drop the series of an adapter that is gone."""
        if adapter in self._named:
            self._named.discard(adapter)
            for series in (self.weight, self.tokens):
                with suppress(KeyError):  # it was named without having made a token yet
                    series.remove(adapter)

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


def effective_number(weights: Iterable[float]) -> float:
    """exp(−Σ p ln p) with p = w / Σ w: 1 for one adapter, n for n equal ones."""
    present = [weight for weight in weights if weight > 0]
    whole = sum(present)
    return math.exp(-sum(w / whole * math.log(w / whole) for w in present))
