"""In the worker: weighing again while requests run.

The server puts policies (with their candidates' centroids) and the encoder's name here once; after
that no step asks it anything. Every weighing that a step needs, over all its requests, is embedded
in one call of the encoder.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from router.encoders import Encoder, make_encoder
from router.errors import RoutingError
from router.reweigh import Reweighing
from router.window import RoutingInput, mean_embedding, stretches
from server.engine.gate_log import Follow, GateLog, Weighed

logger = logging.getLogger(__name__)

Report = Callable[[str, int, Weighed], None]
"""Called with a request's trace name, the number of a weighing, and its result."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed."""

    def decode(self, token_ids: list[int], skip_special_tokens: bool) -> str:
        """The text of tokens."""


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """A policy, and the ids under which its adapters are in the engine."""

    reweighing: Reweighing
    ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """A request some of whose weighings a step needs and its log does not hold yet."""

    log: GateLog
    last: int
    generated: list[int]


@dataclass
class Reweigher:
    """The policies, the encoder, and how often they were used.

    ``weighings``, ``failures`` and ``encode_ms`` count since the start.
    """

    policies: dict[str, WorkerPolicy] = field(default_factory=dict)
    decoder: Decoder | None = None
    report: Report | None = None
    weighings: int = 0
    failures: int = 0
    encode_ms: float = 0.0
    _encoder: Future[Encoder] | None = None

    def load(self, spec: str) -> None:
        """Begin to load the encoder; steps go on meanwhile."""
        loader = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        # No cache: a growing text is never embedded twice.
        self._encoder = loader.submit(make_encoder, spec, threads=None, cache_size=0)
        loader.shutdown(wait=False)

    def put(self, key: str, wire: Mapping[str, Any], ids: Mapping[str, int]) -> None:
        """Take a policy in, and wait until the encoder can serve it.

        Raises:
            RuntimeError: no encoder was named.
            EncoderFailed: it could not be loaded.
        """
        if self._encoder is None:
            raise RuntimeError("the workers have no encoder")
        self._encoder.result()
        self.policies[key] = WorkerPolicy(Reweighing.from_wire(wire), dict(ids))

    def drop(self, key: str) -> None:
        """Forget a policy that no request uses any more."""
        self.policies.pop(key, None)

    def fill(self, due: Iterable[Due]) -> None:
        """Bring the logs up to what a step needs.

        A weighing that fails (it never should) leaves the weights as they were: an exception here
        would end the engine with every request in it.
        """
        jobs = [
            (one.log, number, self._texts(one.log.follow, number, one.generated))
            for one in due
            for number in range(len(one.log.weighings), one.last + 1)
        ]
        if not jobs:
            return
        started = perf_counter()
        try:
            rows = iter(self._encode([text for _, _, texts in jobs for text in texts]))
            embeddings = [
                mean_embedding([next(rows) for _ in texts], texts) if texts else None
                for _, _, texts in jobs
            ]
        except RoutingError:
            logger.exception("texts of running requests could not be embedded")
            embeddings = None
        self.encode_ms += (perf_counter() - started) * 1e3
        for place, (log, number, _) in enumerate(jobs):
            if embeddings is None:
                weighed = log.weighings[-1]
                self.failures += 1
            else:
                weighed = self._weigh(log, embeddings[place])
            log.weighings.append(weighed)
            self.weighings += 1
            if self.report is not None and log.follow.trace is not None:
                self.report(log.follow.trace, number, weighed)

    def _texts(self, follow: Follow, number: int, generated: list[int]) -> list[str]:
        """The stretches that weighing ``number`` reads: the prompt and the answer so far."""
        if self.decoder is None:
            raise RuntimeError("the workers have no tokenizer")
        answer = self.decoder.decode(generated[: number * follow.stride], skip_special_tokens=True)
        spoken = RoutingInput(follow.messages, follow.text)
        window = self.policies[follow.key].reweighing.config.window
        return stretches(spoken, window, self._loaded(), answer)

    def _loaded(self) -> Encoder:
        assert self._encoder is not None, "a policy is put in only once there is an encoder"
        return self._encoder.result()

    def _encode(self, texts: list[str]) -> Any:
        return self._loaded().encode(texts) if texts else []

    def _weigh(self, log: GateLog, embedding: Any) -> Weighed:
        policy = self.policies[log.follow.key]
        try:
            mixture = policy.reweighing.mixture(embedding)
        except RoutingError:
            logger.exception("a running request could not be weighed again")
            self.failures += 1
            return log.weighings[-1]
        return tuple((policy.ids[member.digest], member.weight) for member in mixture.members)
