r"""Measure what mixing gains on the four demo tasks, by scope and stride.

    python -m benchmarks.scopes --data DIR [--items 200] [--recompute-items 40] …

The loss of each held-out item's gold answer under the base model, each adapter, all at equal
weights, and each policy in scope prompt, token and recompute; and the distance of the cached scopes
from recompute. Every item is written to ``--records`` when it is through: the same command goes on
where a run broke off, and writes the tables (``--out``.md and .json) at its end. Recompute takes
minutes an item where answers are long and weights change at every token.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from adapters.errors import AdapterError
from adapters.training.data.examples import digest_of
from benchmarks.scopes import variants as kinds
from benchmarks.scopes.items import FILES, Item, in_turn, read_items
from benchmarks.scopes.measure import Bench, measure
from benchmarks.scopes.records import Record, Records
from benchmarks.scopes.report import markdown
from benchmarks.scopes.results import Results, results
from benchmarks.scopes.setup import Parts, ScopesError, check_adapters, key_of
from benchmarks.scopes.variants import Variant
from router.errors import RoutingError
from server.prepare import base_model_path, encoder_path

ROOT = Path(__file__).parents[2]
POLICIES = Path(__file__).with_name("policies.yaml")
RESULTS = ROOT / "benchmarks" / "results"
console = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        run(options)
    except (AdapterError, RoutingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scopes",
        description="Held-out loss by scope and stride on the demo tasks.",
    )
    add = parser.add_argument
    add("--data", required=True, type=Path, help="folder of the held-out JSON Lines files")
    add("--tasks", nargs="+", choices=list(FILES), default=list(FILES))
    add("--items", type=int, default=200, help="items a task")
    add("--recompute-items", type=int, default=40, help="items a task that recompute is run on")
    add("--policies", nargs="+", default=["auto", "static"], help="policies to compare")
    add("--recompute-policies", nargs="+", help="those that recompute is run for (default: all)")
    add("--policy-file", type=Path, default=POLICIES, help="where they are defined")
    add(
        "--strides", type=int, nargs="*", default=[1, 2, 8], help="of scope token; none: without it"
    )
    add("--recompute-strides", type=int, nargs="+", default=[1, 2, 8], help="of scope recompute")
    add(
        "--one-centroid",
        action="store_true",
        help="for each adapter: the mean of the first prompts of its training files in --data",
    )
    add("--base-model", default=str(base_model_path()), help="folder or hub name")
    add("--encoder", default=str(encoder_path()), help="folder or cached name")
    add("--adapters", type=Path, default=ROOT / "examples" / "adapters")
    add("--dtype", default="float32", choices=["bfloat16", "float32"])
    add("--device", default="cpu")
    add("--threads", type=int, default=1, help="processor threads")
    add("--max-tokens", type=int, default=512, help="longer items are passed over")
    add("--records", type=Path, default=RESULTS / "scopes.jsonl")
    add("--tables-only", action="store_true", help="measure nothing: tables of what is there")
    add("--out", type=Path, default=RESULTS / "scopes")
    add("--note", default="", help="for the result: on which machine")
    return parser


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, then write the tables."""
    _check(options)
    torch.set_num_threads(options.threads)
    parts = Parts(
        base_model=options.base_model,
        encoder=options.encoder,
        adapters=options.adapters,
        names=tuple(FILES),
        policy_file=options.policy_file,
        policies=tuple(options.policies),
        dtype=options.dtype,
        device=options.device,
        examples=options.data if options.one_centroid else None,
    )
    bench = parts.load()
    items = [
        read_items(options.data, task, bench.tokenizer, options.items, options.max_tokens)
        for task in options.tasks
    ]
    once, rerun = _variants(options, bench, parts.names)
    records = Records(options.records)
    identity = parts.identity(bench.router)

    def key(item: Item, variant: Variant) -> str:
        return key_of(identity, bench.router, item, variant)

    def look(item: Item, variant: Variant) -> Record | None:
        wanted = variant.scope != "recompute" or item.number < options.recompute_items
        return records.get(key(item, variant)) if wanted else None

    missing: list[tuple[Item, dict[Variant, str]]] = []
    for item in in_turn(items):
        wanted = once + (rerun if item.number < options.recompute_items else [])
        lacking = {v: key(item, v) for v in wanted if look(item, v) is None}
        if lacking:
            missing.append((item, lacking))
    if not options.tables_only:
        _measure_all(bench, missing, records)
    figures = results([item for of_task in items for item in of_task], once + rerun, look)
    if not figures.items:
        raise ScopesError(f"{options.records.name} holds no item that is through yet")
    about = _about(options, identity)
    _write(options.out, markdown(figures, about), {**identity, "about": about}, figures)


def _check(options: argparse.Namespace) -> None:
    check_adapters(options.adapters, tuple(FILES))
    for task in options.tasks:
        if not (options.data / FILES[task]).is_file():
            raise ScopesError(f"{options.data} holds no {FILES[task]} (task {task!r})")
    if options.items < 1 or min([1, *options.strides, *options.recompute_strides]) < 1:
        raise ScopesError("--items and every stride must be at least 1")


def _variants(
    options: argparse.Namespace, bench: Bench, names: Sequence[str]
) -> tuple[list[Variant], list[Variant]]:
    """Those of one pass, and those of scope recompute."""
    once = kinds.fixed(bench.router.index.snapshot, names)
    rerun = []
    for policy in options.policies:
        bench.router.policy(policy)
        once.append(kinds.prompt(policy))
        once += [kinds.token(policy, stride) for stride in sorted(set(options.strides))]
        if policy in (options.recompute_policies or options.policies):
            rerun += [kinds.recompute(policy, n) for n in sorted(set(options.recompute_strides))]
    return once, rerun


def _measure_all(
    bench: Bench, missing: Sequence[tuple[Item, dict[Variant, str]]], records: Records
) -> None:
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    taken: dict[str, list[float]] = {}
    with Progress(*Progress.get_default_columns()[:2], *columns, console=console) as progress:
        bar = progress.add_task("items", total=len(missing))
        for item, wanted in missing:
            begin = time.perf_counter()
            records.add(measure(bench, item, wanted))
            rerun = any(variant.scope == "recompute" for variant in wanted)
            kind = f"{item.task}, {'with' if rerun else 'without'} recompute"
            taken.setdefault(kind, []).append(time.perf_counter() - begin)
            progress.advance(bar)
    for kind, seconds in taken.items():
        console.print(f"{kind}: {len(seconds)} items, {sum(seconds) / len(seconds):.2f} s each")


def _about(options: argparse.Namespace, identity: dict[str, object]) -> str:
    some = options.recompute_policies
    chosen = f"--recompute-policies {' '.join(some)} " if some else ""
    strides = " ".join(map(str, options.strides))
    rerun = f"--recompute-strides {' '.join(map(str, options.recompute_strides))} "
    command = (
        f"python -m benchmarks.scopes --data DIR --items {options.items} "
        f"--recompute-items {options.recompute_items} --policies {' '.join(options.policies)} "
        f"{chosen}--strides {strides} {rerun if options.recompute_items else ''}"
        f"{'--one-centroid ' if options.one_centroid else ''}--dtype {options.dtype}"
    ).replace("  ", " ")
    digests = digest_of([options.data / FILES[task] for task in options.tasks])
    return "\n\n".join(
        [
            f"`{command}`, {identity['base_model']}, {options.note}".rstrip(", ") + ".",
            "Weights are computed from the prompt and the gold answer so far. Token scope keeps "
            "the keys and values of earlier tokens; recompute runs the whole prefix again.",
            f"Items: the first of each file that fit into {options.max_tokens} tokens.",
            "\n".join(f"- `{name}`, SHA-256 `{digest}`" for name, digest in digests.items()),
        ]
    )


def _write(out: Path, text: str, identity: dict[str, object], figures: Results) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {**identity, **dataclasses.asdict(figures)}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    out.with_suffix(".md").write_text(text, "utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    raise SystemExit(main())
