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
from typing import Any, Final, Protocol

from router.encoders import Encoder, make_encoder
from router.errors import RoutingError
from router.reweigh import Reweighing
from router.window import RoutingInput, mean_embedding, stretches
from server.engine.gate_log import Follow, GateLog, Weighed

logger = logging.getLogger(__name__)

Report = Callable[[str, str, int, Weighed], None]
"""Called with a request's trace, its name in the engine, a weighing's number and its result."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed."""

    def decode(
        self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        """The text of tokens."""


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """A policy, and the ids under which its adapters are in the engine."""

    reweighing: Reweighing
    ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """A request some of whose weighings a step needs and its log does not hold yet."""

    name: str
    log: GateLog
    last: int
    generated: list[int]


@dataclass(frozen=True, slots=True)
class _Job:
    """One weighing to make, and the stretches that it reads."""

    due: Due
    number: int
    texts: list[str]


FAILED: Final = object()


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
            _Job(one, number, self._texts(one.log.follow, number, one.generated))
            for one in due
            for number in range(len(one.log.weighings), one.last + 1)
        ]
        if not jobs:
            return
        embeddings = self._embed([job.texts for job in jobs])
        for job, embedding in zip(jobs, embeddings, strict=True):
            log = job.due.log
            weighed = log.weighings[-1] if embedding is FAILED else self._weigh(log, embedding)
            log.weighings.append(weighed)
            self.weighings += 1
            if self.report is not None and log.follow.trace is not None:
                self.report(log.follow.trace, job.due.name, job.number, weighed)

    def _embed(self, texts: list[list[str]]) -> list[Any]:
        """One embedding [d] for each list of stretches, None where there are none."""
        started = perf_counter()
        try:
            flat = [stretch for stretches_ in texts for stretch in stretches_]
            rows = iter(self._loaded().encode(flat) if flat else ())
            return [
                mean_embedding([next(rows) for _ in each], each) if each else None for each in texts
            ]
        except RoutingError:
            logger.exception("texts of running requests could not be embedded")
            self.failures += len(texts)
            return [FAILED] * len(texts)
        finally:
            self.encode_ms += (perf_counter() - started) * 1e3

    def _texts(self, follow: Follow, number: int, generated: list[int]) -> list[str]:
        """The stretches that weighing ``number`` reads: the prompt and the answer so far."""
        if self.decoder is None:
            raise RuntimeError("the workers have no tokenizer")
        answer = self.decoder.decode(
            generated[: number * follow.stride],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        spoken = RoutingInput(follow.messages, follow.text)
        window = self.policies[follow.key].reweighing.config.window
        return stretches(spoken, window, self._loaded(), answer)

    def _loaded(self) -> Encoder:
        assert self._encoder is not None, "a policy is put in only once there is an encoder"
        return self._encoder.result()

    def _weigh(self, log: GateLog, embedding: Any) -> Weighed:
        policy = self.policies[log.follow.key]
        try:
            mixture = policy.reweighing.mixture(embedding)
        except RoutingError:
            logger.exception("a running request could not be weighed again")
            self.failures += 1
            return log.weighings[-1]
        return tuple((policy.ids[member.digest], member.weight) for member in mixture.members)
