"""Weighing again in the worker, while requests run.

The server puts policies (with their candidates' centroids) and the encoders' names here once; after
that no step asks it anything. Texts of every weighing that a step needs, over all its requests, are
embedded in one call of the encoder; a static encoder adds the tokens made since to a request's sum.
Then every policy weighs all that are due under it in one go.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np

from router.encoders import Encoder, make_encoder
from router.encoders.static import StaticEncoder, SumState
from router.errors import RoutingError
from router.policies import PolicyConfig
from router.reweighing import Reweighing
from router.running_sum import RunningSum
from router.threads import one_thread
from router.window import RoutingInput, Stretch, mean_embedding, stretches
from server.engine.messages import AdapterWeights, PutPolicy, Weighing
from server.engine.worker.gate_log import GateLog

logger = logging.getLogger(__name__)

Report = Callable[[list[Weighing]], None]
"""Called with all weighings of a step whose requests are traced."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed."""

    def decode(
        self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        """The text of tokens."""


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """A policy, and the ids under which its adapters are in the engine.

    Attributes:
        reweighing: the policy over its adapters.
        ids: digest → vLLM's id.
    """

    reweighing: Reweighing
    ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """A request some of whose weighings a step needs and its log does not hold yet.

    Attributes:
        name: the engine's name of the request.
        log: its weighings so far.
        last: number of the last weighing that the step needs.
        generated: its generated tokens so far.
    """

    name: str
    log: GateLog
    last: int
    generated: list[int]


@dataclass(frozen=True, slots=True)
class _Job:
    """One weighing to make."""

    due: Due
    number: int

    @property
    def answer(self) -> list[int]:
        """The generated tokens that it reads."""
        return self.due.generated[: self.number * self.due.log.reweigh.stride]


FAILED: Final = object()
"""In the place of an embedding that could not be made."""


@dataclass
class Reweigher:
    """The policies, the encoders, and how often they were used.

    Attributes:
        policies: the policies that the server put here, by key.
        decoder: the base model's tokenizer; None until the encoders are named.
        report: what sends weighings to the server; None in workers that need not.
        weighings: weighings since the start.
        failures: those that left the weights as they were.
        encode_ms: time that embeddings took since the start, in milliseconds.
    """

    policies: dict[str, WorkerPolicy] = field(default_factory=dict)
    decoder: Decoder | None = None
    report: Report | None = None
    weighings: int = 0
    failures: int = 0
    encode_ms: float = 0.0
    _encoder: Future[Encoder] | None = None
    _static: Future[StaticEncoder] | None = None

    def load(self, spec: str, static: str | None, tokenizer: Path, dtype: str = "float32") -> None:
        """Begin to load the encoders; steps go on meanwhile.

        Args:
            spec: as ``router.encoders.make_encoder`` takes it.
            static: folder or name of the static encoder, or None.
            tokenizer: the base model's folder.
            dtype: what the encoder computes in (docs/adr/0008).
        """
        loader = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        one_thread()
        if static is not None:
            self._static = loader.submit(StaticEncoder, static, tokenizer=tokenizer)
        # No cache: a growing text is never embedded twice.
        self._encoder = loader.submit(make_encoder, spec, threads=None, cache_size=0, dtype=dtype)
        loader.shutdown(wait=False)

    def put(self, message: PutPolicy) -> None:
        """Take a policy in, and wait until its encoder can serve it.

        Raises:
            RuntimeError: no such encoder was named.
            EncoderFailed: it could not be loaded.
        """
        reweighing = Reweighing.from_wire(message.policy)
        encoder = self._static if reweighing.config.encoder == "static" else self._encoder
        if encoder is None:
            raise RuntimeError(f"the workers have no {reweighing.config.encoder} encoder")
        encoder.result()
        self.policies[message.key] = WorkerPolicy(reweighing, message.ids)

    def drop(self, key: str) -> None:
        """Forget a policy that no request uses any more."""
        self.policies.pop(key, None)

    def fill(self, due: Iterable[Due]) -> None:
        """Bring the logs up to what a step needs.

        A weighing that fails (it never should) leaves the weights as they were: an exception here
        would end the engine with every request in it.
        """
        jobs = [
            _Job(one, number)
            for one in due
            for number in range(len(one.log.weighings), one.last + 1)
        ]
        if not jobs:
            return
        traced: list[Weighing] = []
        for job, found in zip(jobs, self._weighed(jobs, self._embedded(jobs)), strict=True):
            log = job.due.log
            weights = log.weighings[-1] if found is None else found
            log.weighings.append(weights)
            self.weighings += 1
            if log.reweigh.trace is not None:
                traced.append(Weighing(log.reweigh.trace, job.due.name, job.number, weights))
        if traced and self.report is not None:
            self.report(traced)

    def _embedded(self, jobs: list[_Job]) -> list[Any]:
        """One embedding [d] for each job: None for no text, FAILED where it could not be made."""
        started = perf_counter()
        is_static = [self._config(job).encoder == "static" for job in jobs]
        summed = iter(self._summed([job for job, yes in zip(jobs, is_static, strict=True) if yes]))
        read = iter(
            self._encoded(
                [self._texts(job) for job, yes in zip(jobs, is_static, strict=True) if not yes]
            )
        )
        found = [next(summed) if yes else next(read) for yes in is_static]
        self.encode_ms += (perf_counter() - started) * 1e3
        return found

    def _config(self, job: _Job) -> PolicyConfig:
        return self.policies[job.due.log.reweigh.policy].reweighing.config

    def _summed(self, jobs: list[_Job]) -> list[Any]:
        """A static encoder's embedding [d] for each job, from its request's running sum."""
        if not jobs:
            return []
        assert self._static is not None, "a policy is put in only once there is its encoder"
        encoder = self._static.result()
        # A state grows with the next job of its request, so where it points is taken at once.
        states = [(s.count, s.direction()) for s in (self._state(encoder, job) for job in jobs)]
        rows = encoder.embeddings(np.stack([direction for _, direction in states]))
        sums = [row if count else None for (count, _), row in zip(states, rows, strict=True)]
        return [
            None if job.due.log.running is None else job.due.log.running.embedding(row)
            for job, row in zip(jobs, sums, strict=True)
        ]

    def _state(self, encoder: StaticEncoder, job: _Job) -> SumState:
        log = job.due.log
        if log.running is None:
            log.running = RunningSum.of(encoder, self._config(job).window, _prompt(log))
        return log.running.state(job.answer)

    def _encoded(self, texts: list[list[Stretch]]) -> list[Any]:
        """One embedding [d] for each list of stretches, None where there are none."""
        flat = [stretch for stretches_ in texts for stretch in stretches_]
        try:
            rows = iter(self._loaded().encode(flat) if flat else ())
        except RoutingError:
            logger.exception("texts of running requests could not be embedded")
            self.failures += len(texts)
            return [FAILED] * len(texts)
        return [
            mean_embedding([next(rows) for _ in each], each) if each else None for each in texts
        ]

    def _texts(self, job: _Job) -> list[Stretch]:
        """The stretches that a weighing reads: the prompt and the answer so far."""
        if self.decoder is None:
            raise RuntimeError("the workers have no tokenizer")
        answer = self.decoder.decode(
            job.answer, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        window = self._config(job).window
        return stretches(_prompt(job.due.log), window, self._loaded(), answer)

    def _loaded(self) -> Encoder:
        assert self._encoder is not None, "a policy is put in only once there is an encoder"
        return self._encoder.result()

    def _weighed(self, jobs: list[_Job], embeddings: list[Any]) -> list[AdapterWeights | None]:
        """What each job weighs, policy by policy; None where it could not be found out."""
        found: list[AdapterWeights | None] = [None] * len(jobs)
        numbers: dict[str, list[int]] = {}
        for number, job in enumerate(jobs):
            if embeddings[number] is not FAILED:
                numbers.setdefault(job.due.log.reweigh.policy, []).append(number)
        for key, those in numbers.items():
            policy = self.policies[key]
            try:
                mixtures = policy.reweighing.mixtures([embeddings[number] for number in those])
            except RoutingError:
                logger.exception("running requests could not be weighed again")
                self.failures += len(those)
                continue
            for number, mixture in zip(those, mixtures, strict=True):
                found[number] = tuple((policy.ids[m.digest], m.weight) for m in mixture.members)
        return found


def _prompt(log: GateLog) -> RoutingInput:
    """The prompt as the router read it."""
    return RoutingInput(log.reweigh.messages, log.reweigh.text)
