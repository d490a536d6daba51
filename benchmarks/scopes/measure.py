"""One item under many variants: losses, and the distance of ``token`` from ``recompute``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from benchmarks.scopes.gated import GatedModel
from benchmarks.scopes.items import Item
from benchmarks.scopes.records import Distance, Record
from benchmarks.scopes.steps import due, steps_of, weights_by_step
from benchmarks.scopes.variants import Variant, prompt, token
from router.mixture import Mixture
from router.router import Router

Steps = Mapping[int, Mixture]
"""Step → mixture, at every step at which a stride computes weights."""


@dataclass(frozen=True)
class Bench:
    """What measures: the model with its adapters, its tokenizer, the router."""

    model: GatedModel
    tokenizer: PreTrainedTokenizerBase
    router: Router


def measure(bench: Bench, item: Item, variants: Mapping[Variant, str]) -> list[Record]:
    """The records of one item.

    Args:
        bench: what measures.
        item: prompt and gold answer.
        variants: those that are wanted, each with the key of its record.
    """
    steps = _steps(bench, item, variants)
    rerun = [variant for variant in variants if variant.scope == "recompute"]
    compared = {c for v in rerun for c in (prompt(v.policy), token(v.policy, v.stride))}
    once = dict.fromkeys(
        [v for v in variants if v.scope != "recompute"] + sorted(compared, key=str)
    )
    rows = {variant: tuple(rows_of(item, variant, steps)) for variant in once}
    distinct = list(dict.fromkeys(rows.values()))
    states = bench.model.hidden(item.ids[:-1], distinct)[:, item.prompt_tokens - 1 :]
    records, kept = [], {}
    for variant in once:
        logprobs = bench.model.logprobs(states[distinct.index(rows[variant])])
        if variant in compared:
            kept[variant] = logprobs
        if variant in variants:
            loss = _loss(logprobs, item.answer)
            records.append(_record(item, variant, variants[variant], loss, steps))
    for policy in dict.fromkeys(variant.policy for variant in rerun):
        mine = [variant for variant in rerun if variant.policy == policy]
        tallies = _recomputed(bench.model, item, mine, steps[policy], kept)
        for variant, tally in tallies.items():
            record = _record(item, variant, variants[variant], tally.loss, steps)
            records.append(record.model_copy(update={"distance": tally.distance}))
    return records


def rows_of(item: Item, variant: Variant, steps: Mapping[str, Steps]) -> list[Mixture]:
    """The mixture [P + T − 1] of each row of prompt and answer; nothing reads the last token.

    In token scope the prompt's rows have the weights of step 0, and the row that takes in answer
    token i those of step i + 1.
    """
    answered = range(1, len(item.answer))
    if variant.scope == "fixed":
        return [variant.mixture] * (len(item.ids) - 1)
    mine = steps[variant.policy]
    if variant.scope == "prompt":
        return [mine[0]] * (len(item.ids) - 1)
    return [mine[0]] * item.prompt_tokens + [mine[due(t, variant.stride)] for t in answered]


def _steps(bench: Bench, item: Item, variants: Iterable[Variant]) -> dict[str, Steps]:
    strides: dict[str, set[int]] = {}
    for variant in variants:
        if variant.policy:
            strides.setdefault(variant.policy, set()).add(variant.stride or len(item.ids))
    return {
        policy: weights_by_step(
            bench.router, policy, item, bench.tokenizer, steps_of(every, len(item.answer))
        )
        for policy, every in strides.items()
    }


@dataclass
class _Tally:
    """Sums over the steps of one recompute variant."""

    loss: float
    distance: dict[str, Distance]


def _recomputed(
    model: GatedModel,
    item: Item,
    variants: Sequence[Variant],
    steps: Steps,
    kept: Mapping[Variant, torch.Tensor],
) -> dict[Variant, _Tally]:
    """Every step under its own mixture alone.

    A run of the prefix under one mixture serves all steps, of any stride, that have this mixture:
    a later token does not change the rows before it.
    """
    served: dict[Mixture, dict[Variant, list[int]]] = {}
    for variant in variants:
        for step in range(len(item.answer)):
            mixture = steps[due(step, variant.stride)]
            served.setdefault(mixture, {}).setdefault(variant, []).append(step)
    answer = torch.tensor(item.answer, device=model.model.device)
    tallies = {
        v: _Tally(0.0, {s: Distance(kl=0, changed=0) for s in ("prompt", "token")})
        for v in variants
    }
    for mixture, wanted in served.items():
        every = sorted({step for steps_ in wanted.values() for step in steps_})
        length = item.prompt_tokens + every[-1]
        states = model.hidden(item.ids[:length], [[mixture] * length])[0]
        logprobs = model.logprobs(states[[item.prompt_tokens - 1 + step for step in every]])
        for variant, chosen in wanted.items():
            rows = logprobs[[every.index(step) for step in chosen]]
            tally = tallies[variant]
            tally.loss += _loss(rows, answer[chosen].tolist())
            for scope, other in (
                ("prompt", prompt(variant.policy)),
                ("token", token(variant.policy, variant.stride)),
            ):
                tally.distance[scope] = _further(tally.distance[scope], rows, kept[other][chosen])
    return tallies


def _loss(logprobs: torch.Tensor, answer: Sequence[int]) -> float:
    """Σ_t −log p(y_t) of log-probabilities [T, vocab]."""
    picked = logprobs[torch.arange(len(answer)), torch.tensor(answer, device=logprobs.device)]
    return -float(picked.double().sum())


def _further(so_far: Distance, p: torch.Tensor, q: torch.Tensor) -> Distance:
    """The distance with further steps, from log-probabilities [n, vocab] of both."""
    kl = float((p.exp() * (p - q)).sum(dtype=torch.float64))
    changed = int((p.argmax(dim=-1) != q.argmax(dim=-1)).sum())
    return Distance(kl=so_far.kl + kl, changed=so_far.changed + changed)


def _record(
    item: Item, variant: Variant, key: str, loss: float, steps: Mapping[str, Steps]
) -> Record:
    own, leads = None, None
    tokens = len(item.answer)
    if variant.policy:
        mine = steps[variant.policy]
        stride = variant.stride or tokens
        mixtures = [mine[due(step, stride)] for step in range(tokens)]
        own = sum(mixture.weights.get(item.task, 0.0) for mixture in mixtures) / tokens
        leads = sum(not m.is_base and m.members[0].name == item.task for m in mixtures)
    return Record(
        key=key,
        task=item.task,
        number=item.number,
        variant=variant.title,
        tokens=tokens,
        loss=loss,
        own=own,
        leads=leads,
    )
