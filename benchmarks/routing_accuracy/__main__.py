"""Measure routing accuracy: python -m benchmarks.routing_accuracy --data FOLDER.

Writes RESULT.md and RESULT.json. Two tables: on training prompts alone, all ways to make centroids
and to score by them, of which one was chosen; on held-out prompts, one centroid for each adapter
(before), the way chosen (now), and the ``router.json`` that come with the demo adapters.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from adapters.adapter import RoutingData
from adapters.errors import AdapterError
from benchmarks.routing_accuracy import report
from benchmarks.routing_accuracy.texts import Split, Texts, folds, held_out
from benchmarks.routing_accuracy.variants import (
    COUNTS,
    Figures,
    Rows,
    Variant,
    cosines,
    figures,
    variants,
)
from router.centroids.centroid import centroids
from router.centroids.index import CentroidIndex
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.errors import RoutingError
from router.policies.config import default_policies
from router.router import Router
from server.catalogue.routing_data import read_routing
from server.prepare import encoder_path

ROOT = Path(__file__).parents[2]
TEXTS_REMEMBERED = 8192
"""More than all prompts: each is embedded once."""

By = dict[str, dict[str, Figures]]


def main(arguments: Iterable[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(given.threads)
    encoder = SentenceTransformerEncoder(given.encoder, cache_size=TEXTS_REMEMBERED)
    try:
        test = held_out(given.data, given.items)
        splits = list(folds(given.data))
        _remember(encoder, [test, *splits])
        chosen = choosing(encoder, splits)
        found, counts = measured(encoder, test, given.adapters)
    except (AdapterError, RoutingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    items = {task: len(texts) for task, texts in test.tried.items()}
    text = report.markdown(chosen, found, counts, items)
    print(text)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".md").write_text(text, "utf-8")
    document = {"items": items, "centroids": counts, "choosing": _plain(chosen)}
    document["held_out"] = _plain(found)
    given.out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0


def choosing(encoder: SentenceTransformerEncoder, splits: list[Split]) -> By:
    """Variant → task → figures on training prompts, means of the folds."""
    tables: dict[str, list[dict[str, Figures]]] = {one.title: [] for one in variants()}
    for split in splits:
        fitted = {task: _rows(encoder, texts) for task, texts in split.fitted.items()}
        tried = {task: _rows(encoder, texts) for task, texts in split.tried.items()}
        for variant in variants():
            tables[variant.title].append(_of_variant(variant, fitted, tried))
    return {title: report.mean(rows) for title, rows in tables.items()}


def measured(
    encoder: SentenceTransformerEncoder, test: Split, adapters: Path
) -> tuple[By, dict[str, dict[str, int]]]:
    """Setting → task → figures of held-out prompts, and how many centroids each adapter has."""
    settings: dict[str, dict[str, RoutingData]] = {}
    for count in (*COUNTS, None):
        title = "as many as cover (default)" if count is None else f"{count} each"
        settings[title] = {
            task: _data(encoder, centroids(encoder, texts, count))
            for task, texts in test.fitted.items()
        }
    bundled = {task: read_routing(adapters / task) for task in test.fitted}
    settings["the demo adapters' `router.json`"] = {
        task: data for task, data in bundled.items() if data is not None
    }
    found = {title: _routed(encoder, data, test.tried) for title, data in settings.items()}
    counts = {
        title: {task: len(one.centroids) for task, one in data.items()}
        for title, data in settings.items()
    }
    return found, counts


def _routed(
    encoder: SentenceTransformerEncoder, data: Mapping[str, RoutingData], tried: Texts
) -> dict[str, Figures]:
    """Task → figures, by the router itself."""
    router = Router(encoder, CentroidIndex(), default_policies())
    for name, one in data.items():
        router.add_adapter(name, name, one)
    names = router.index.snapshot.names
    found = {}
    for task, texts in tried.items():
        decisions = [router.route(text) for text in texts]
        scores = np.array([[one.scores[name] for name in names] for one in decisions])
        found[task] = figures(scores, names, task)
    return found


def _of_variant(
    variant: Variant, fitted: Mapping[str, Rows], tried: Mapping[str, Rows]
) -> dict[str, Figures]:
    made = {task: variant.made(rows) for task, rows in fitted.items()}
    return {
        task: figures(
            np.stack([variant.scored(cosines(rows, one)) for one in made.values()], axis=1),
            list(made),
            task,
        )
        for task, rows in tried.items()
    }


def _remember(encoder: SentenceTransformerEncoder, splits: list[Split]) -> None:
    """Embed every prompt once, under a progress bar."""
    texts = {
        text
        for split in splits
        for side in (split.fitted, split.tried)
        for prompts in side.values()
        for text in prompts
    }
    for text in track(sorted(texts), "embedding", console=Console(stderr=True)):
        encoder.encode([text])


def _rows(encoder: SentenceTransformerEncoder, texts: Iterable[str]) -> Rows:
    return encoder.encode(list(texts)).astype(np.float64)


def _data(encoder: SentenceTransformerEncoder, rows: Rows) -> RoutingData:
    return RoutingData(centroids=tuple(map(tuple, rows.tolist())), encoder=encoder.name)


def _plain(table: By) -> dict[str, dict[str, object]]:
    return {
        title: {task: asdict(one) for task, one in tasks.items()} for title, tasks in table.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing_accuracy",
        description="How often the router picks the adapter of a prompt's own task.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of the *_train and *_dev files")
    add("--items", type=int, default=200, help="held-out prompts of each task")
    add("--adapters", type=Path, default=ROOT / "examples" / "adapters")
    add("--encoder", default=str(encoder_path()), help="folder or cached name")
    add("--threads", type=int, default=1, help="processor threads")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "routing_accuracy")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
