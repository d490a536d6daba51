"""Loralloy's engine in a process of its own, with the router, as the server runs them.

Started by ``benchmarks.tle`` as ``python -m benchmarks.tle.child MODEL ENCODER CACHE THREADS
ADAPTER…``. A command asks for the next stretch of the answers of some requests under one policy;
the answer tells the tokens a second, and the first request's answer so far.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.child_process import serve
from benchmarks.stamps import rate_since, rate_together
from benchmarks.tle.prompts import prompts
from benchmarks.tle.variants import variants
from router.centroids.index import CentroidIndex
from router.decision import RouteDecision
from router.encoders import make_encoder
from router.encoders.static import StaticEncoder, bundled_for
from router.policies.config import parse_policy
from router.router import Router
from server.catalogue.routing_data import read_routing
from server.engine.client.plan import planned
from server.engine.engine import EmbeddedEngine
from server.engine.settings import EngineSettings
from server.generation.body import CleanBody
from server.generation.decided import Generation
from server.generation.prompts import Api
from server.traces.applied import Applied
from server.traces.store import TraceStore

MODEL_NAME = "base"


@dataclass
class Bench:
    """The engine and the answers that it has begun.

    Attributes:
        engine: with every adapter in a slot.
        router: with every adapter in the index.
        tokenizer: the base model's.
        answers: the new tokens so far, request by request, by policy and number of requests.
    """

    engine: EmbeddedEngine
    router: Router
    tokenizer: Any
    traces: TraceStore = field(default_factory=TraceStore)
    answers: dict[tuple[str, int], list[list[int]]] = field(default_factory=dict)

    async def stretch(self, serial: int, command: dict[str, Any]) -> dict[str, Any]:
        """Decode ``tokens`` more tokens of each request, from token ``start`` on.

        The first stretch counts from the moment that all requests come in. A later one takes the
        answers up where they were left: reading them again does not count, decoding does.
        """
        policy, count = command["policy"], command["requests"]
        start, tokens = command["start"], command["tokens"]
        key = (policy, count)
        texts = prompts(count)
        # The last token is made again: it comes with the prefill, and what follows is counted.
        kept = [answer[: start - 1] for answer in self.answers[key]] if start else [[]] * count
        said = [self._said(policy, *both) for both in zip(texts, kept, strict=True)]
        decided = [self.router.route(text, policy) for text in said] if start else [None] * count
        begin = time.perf_counter()
        made = await asyncio.gather(
            *(
                self._decode(f"{serial}-{n}", self._ids(texts[n], kept[n]), tokens + bool(start), d)
                if (d := decided[n])
                else self._route_and_decode(f"{serial}-{n}", said[n], policy, tokens)
                for n in range(count)
            )
        )
        stamps = [times for _, times in made]
        self.answers[key] = [[*a, *new] for a, (new, _) in zip(kept, made, strict=True)]
        return {
            "tokens_per_s": rate_together(stamps) if start else rate_since(begin, stamps),
            "answer": self.answers[key][0],
        }

    def _said(self, policy: str, prompt: str, kept: list[int]) -> str:
        """What the router reads: for weights that stay, the prompt alone."""
        if self.router.policy(policy).scope == "prompt":
            return prompt
        return prompt + str(self.tokenizer.decode(kept, skip_special_tokens=True))

    def _ids(self, prompt: str, kept: list[int]) -> list[int]:
        return [*self.tokenizer(prompt)["input_ids"], *kept]

    async def _route_and_decode(
        self, name: str, prompt: str, policy: str, tokens: int
    ) -> tuple[list[int], list[float]]:
        decision = await asyncio.to_thread(self.router.route, prompt, policy)
        return await self._decode(name, self._ids(prompt, []), tokens, decision)

    async def _decode(
        self, name: str, ids: list[int], tokens: int, decision: RouteDecision
    ) -> tuple[list[int], list[float]]:
        """New tokens and when each came; planned and traced as the server does it."""
        from vllm import SamplingParams

        applied = [Applied(decision.mixture, decision)]
        generation = Generation(applied, CleanBody({}, None, False), MODEL_NAME, Api.COMPLETIONS)
        generation = generation.recorded(self.traces, "", name)
        params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
        made: list[int] = []
        stamps: list[float] = []
        with planned(generation.plan("")):
            async for output in self.engine.client.generate(
                {"prompt_token_ids": ids}, params, name
            ):
                made = list(output.outputs[0].token_ids)
                stamps += [time.perf_counter()] * (len(made) - len(stamps))
        if generation.recording is not None:
            generation.recording.finish()
        return made, stamps


async def start(
    model: str, encoder: str, adapters: Sequence[Path], cache: Path, threads: str
) -> Bench:
    """The engine with all adapters in slots, and the router over them."""
    settings = EngineSettings(
        dtype="bfloat16", enable_prefix_caching=False, threads=threads, cache_dir=cache
    )
    engine = await EmbeddedEngine.start(settings, Path(model), MODEL_NAME)
    static = bundled_for(Path(model))
    measured = variants(has_static=static is not None)
    router = Router(
        # No prompt is routed twice in a server's life: none may come from the cache here.
        make_encoder(encoder, cache_size=0),
        CentroidIndex(),
        {one.name: parse_policy(one.name, one.policy) for one in measured},
        max_members=settings.max_loras,
        static=None if static is None else StaticEncoder(static, tokenizer=Path(model)),
    )
    await engine.load_encoders(encoder, static)
    for folder in adapters:
        router.add_adapter(folder.name, folder.name, read_routing(folder))
        await engine.load(folder.name, folder)
    from transformers import AutoTokenizer

    return Bench(engine, router, AutoTokenizer.from_pretrained(model))


async def main(model: str, encoder: str, cache: str, threads: str, adapters: list[str]) -> None:
    """Start, say so, then serve commands until the input ends."""
    bench = await start(model, encoder, list(map(Path, adapters)), Path(cache), threads)
    await serve("loralloy", bench.stretch, bench.engine.client.shutdown)


if __name__ == "__main__":
    model, encoder, cache, threads, *adapters = sys.argv[1:]
    asyncio.run(main(model, encoder, cache, threads, adapters))
