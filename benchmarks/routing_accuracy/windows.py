"""Measure windows: python -m benchmarks.routing_accuracy.windows --data FOLDER.

Writes RESULT.md and RESULT.json: how the constants of the window ``conversation`` and the threshold
of policy ``auto`` were chosen, on training prompts, and what they do on held-out ones.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from adapters.errors import AdapterError
from benchmarks.machine import described
from benchmarks.routing_accuracy.talks import Case, cases, rows
from router.centroids.index import CentroidIndex
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.errors import RoutingError
from router.policies.config import RoutingOverrides, default_policies
from router.policies.options import DEFAULT_BEFORE, Window
from router.router import Router
from router.window import SHORT, before_question, embedding_of, stretches
from server.catalogue.routing_data import read_routing
from server.prepare import encoder_path

ROOT = Path(__file__).parents[2]
RECENCIES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SHORTS = (30, 45, 60, 90, 1_000_000)
THRESHOLDS = (0.0, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2)
PIECES = 254
TEXTS_REMEMBERED = 16384

Row = npt.NDArray[np.float64]
Table = dict[str, dict[str, float]]


class Heard:
    """What the constants weigh of one case: the question's embedding, and those of the talk."""

    def __init__(self, case: Case, encoder: SentenceTransformerEncoder) -> None:
        window = Window(part="conversation", recency=1.0)
        asked = stretches(case.spoken, Window(), encoder)
        before = before_question(case.spoken, window, encoder)
        self.task = case.task
        self.length = len(case.spoken.last_message)
        self.asked = embedding_of(asked, encoder).astype(np.float64) if asked else None
        self.before = encoder.encode(before).astype(np.float64) if before else None

    def embedding(self, recency: float, short: float) -> Row | None:
        """The window's embedding under these constants."""
        total = np.zeros(0) if self.asked is None else self.asked
        share = 1.0 if self.asked is None else min(1.0, short / max(1, self.length))
        for turn, row in enumerate(() if self.before is None else self.before, 1):
            part = share * recency**turn * row
            total = part if not total.size else total + part
        return total if total.size else None


def main(arguments: Iterable[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(given.threads)
    encoder = SentenceTransformerEncoder(given.encoder, cache_size=TEXTS_REMEMBERED)
    try:
        router = _router(encoder, given.adapters)
        training = cases(rows(given.data, given.items, held_out=False), held_out=False)
        tried = cases(rows(given.data, given.items, held_out=True), held_out=True)
        heard = {kind: [Heard(case, encoder) for case in of] for kind, of in training.items()}
        document = {
            "machine": described(),
            "items": given.items,
            "constants": _constants(router, heard),
            "thresholds": _thresholds(router, heard),
            "held_out": _held_out(router, tried),
            "milliseconds": _milliseconds(given.encoder, tried),
        }
    except (AdapterError, RoutingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    text = _markdown(document)
    sys.stdout.write(text)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".md").write_text(text, "utf-8")
    given.out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0


def _router(encoder: SentenceTransformerEncoder, adapters: Path) -> Router:
    router = Router(encoder, CentroidIndex(), default_policies())
    for folder in sorted(path for path in adapters.iterdir() if path.is_dir()):
        router.add_adapter(folder.name, folder.name, read_routing(folder))
    return router


def _share(router: Router, of: Sequence[Heard], recency: float, short: float) -> float:
    """The share of cases whose best score is their own task's adapter's."""
    rows = [one.embedding(recency, short) for one in of]
    best = [None if row is None else router.index.snapshot.scores(row) for row in rows]
    names = [None if one is None else one.names[int(one.cosines.argmax())] for one in best]
    return float(np.mean([name == one.task for name, one in zip(names, of, strict=True)]))


def _constants(router: Router, heard: Mapping[str, Sequence[Heard]]) -> Table:
    """(recency, short) → kind of case → share that is right; "mean" is of the talks."""
    kinds = ("follow-up", "follow-up after a change", "change of subject")
    table: Table = {}
    for recency in RECENCIES:
        for short in SHORTS if recency else (SHORT,):
            shares = {kind: _share(router, heard[kind], recency, short) for kind in kinds}
            table[f"{recency:g}, {short}"] = {**shares, "mean": float(np.mean([*shares.values()]))}
    return table


def _thresholds(router: Router, heard: Mapping[str, Sequence[Heard]]) -> Table:
    """Threshold → share of each task's prompts, and of texts for no task, whose best is less."""
    best: dict[str, list[float]] = {}
    for kind in ("one message", "no task"):
        for one in heard[kind]:
            if one.asked is not None:
                score = float(router.index.snapshot.scores(one.asked).cosines.max())
                best.setdefault(one.task or kind, []).append(score)
    return {
        f"{threshold:g}": {
            task: float(np.mean([score < threshold for score in scores]))
            for task, scores in best.items()
        }
        for threshold in THRESHOLDS
    }


def _held_out(router: Router, tried: Mapping[str, Sequence[Case]]) -> Table:
    """Window → kind of case → share that is right: own adapter first, or the base model."""
    table: Table = {}
    for title, window, threshold in (
        ("the beginning of the last message (before)", None, -1.0),
        ("last_message", Window(), None),
        ("conversation (auto)", Window(part="conversation"), None),
    ):
        overrides = RoutingOverrides(window=window, threshold=threshold)
        table[title] = {
            kind: float(np.mean([_is_right(router, case, overrides) for case in of]))
            for kind, of in tried.items()
        }
    return table


def _is_right(router: Router, case: Case, overrides: RoutingOverrides) -> bool:
    spoken = case.spoken
    if overrides.window is None:  # what was read before both ends were: by the window `head` alone
        spoken = type(spoken)(text=spoken.last_message)
        overrides = overrides.model_copy(update={"window": Window(part="head")})
    weights = router.route(spoken, "auto", overrides).mixture.weights
    first = next(iter(weights), None)
    return first == case.task


def _milliseconds(model: str, tried: Mapping[str, Sequence[Case]]) -> Table:
    """Window → kind of case → median time of an embedding that nothing is remembered for."""
    encoder = SentenceTransformerEncoder(model, cache_size=0)
    table: Table = {}
    for title, window in (
        ("head", Window(part="head")),
        ("last_message", Window()),
        ("conversation", Window(part="conversation")),
    ):
        table[title] = {}
        for kind in ("one message", "follow-up", "300 words before"):
            times = []
            for case in tried[kind][::10]:
                started = perf_counter()
                embedding_of(stretches(case.spoken, window, encoder), encoder)
                times.append((perf_counter() - started) * 1e3)
            table[title][kind] = float(np.median(times))
    return table


def _markdown(document: Mapping[str, object]) -> str:
    parts = [
        "# Windows and threshold of the router",
        "`python -m benchmarks.routing_accuracy.windows --data FOLDER`. The four demo adapters by "
        f"their `router.json`, all-MiniLM-L6-v2, {document['items']} rows of each task; "
        f"{document['machine']}. A talk is a task's prompt and its answer, then a follow-up that "
        "does not tell what it is about, or another task's prompt. Shares are of cases whose "
        "heaviest adapter is the right one; for texts without a task, of those that the base model "
        "answers.",
        "## Held-out prompts, by policy `auto`",
        "The first row reads the beginning of the user's last message alone, without a threshold; "
        "texts without a word go to the base model whatever the window.",
        _table("window", document["held_out"], ".3f"),
        "## Milliseconds of an embedding",
        "Medians, nothing remembered; on a server the messages before are, from their own turn.",
        _table("window", document["milliseconds"], ".1f"),
        "## Choosing recency and the length of a short question",
        "On training prompts that no centroid was made from: recency, then characters up to which "
        f"a question leaves the talk its full weight; at most {DEFAULT_BEFORE} messages.",
        _table("recency, short", document["constants"], ".3f"),
        "## Choosing the threshold",
        "Share of each task's single prompts, and of texts for no task, whose best score is less: "
        "those go to the base model, the prompts by mistake.",
        _table("threshold", document["thresholds"], ".3f"),
    ]
    return "\n\n".join(parts) + "\n"


def _table(corner: str, table: object, form: str) -> str:
    assert isinstance(table, Mapping)
    heads = list(next(iter(table.values())))
    lines = [f"| {' | '.join([corner, *heads])} |", "|---|" + "---:|" * len(heads)]
    for title, row in table.items():
        cells = [title, *(format(row[head], form) for head in heads)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing_accuracy.windows",
        description="What the router hears of talks and of long texts.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of the *_train and *_dev files")
    add("--items", type=int, default=50, help="rows of each task")
    add("--adapters", type=Path, default=ROOT / "examples" / "adapters")
    add("--encoder", default=str(encoder_path()), help="folder or cached name")
    add("--threads", type=int, default=1, help="processor threads")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "routing_windows")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
