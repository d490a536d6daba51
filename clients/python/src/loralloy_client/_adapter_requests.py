"""What the methods of adapters send."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from loralloy_client._form import Form, Progress
from loralloy_client._options import RoutingData
from loralloy_client._requests import Request, check_known, if_match, path_of
from loralloy_client._retry import Repeat

CONFIG_FILE, WEIGHTS_FILE, ROUTING_FILE = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "router.json",
)
ROUTING_FIELDS = ("examples", "description", "centroids", "centroid", "encoder")

PathOrText = str | PathLike[str]
Pair = tuple[PathOrText | None, PathOrText | None]


def push(
    name: str,
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
) -> Request:
    """The upload of a folder, an archive, or a config with its weights.

    Raises:
        ValueError: both a path and a pair of files are given, or neither.
        FileNotFoundError: a file is missing.
    """
    form = _upload({"name": name}, path, pair, routing, progress)
    return Request("POST", "/v1/adapters", form=form, repeat=Repeat.UNLESS_SENT)


def replacement(
    name: str,
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
    expected: str | None,
) -> Request:
    """New content for an adapter.

    Raises:
        ValueError: both a path and a pair of files are given, or neither.
        FileNotFoundError: a file is missing.
    """
    form = _upload({}, path, pair, routing, progress)
    target, headers = path_of("/v1/adapters", name), if_match(expected)
    return Request("PUT", target, form=form, headers=headers, repeat=Repeat.UNLESS_SENT)


def description(name: str, routing: RoutingData, expected: str | None) -> Request:
    """New routing data for an adapter; None takes away what there was.

    Raises:
        OSError: the file of examples cannot be read.
    """
    check_known(routing, RoutingData.__optional_keys__)
    body = {
        key: value.read_text("utf-8") if isinstance(value, Path) else value
        for key, value in routing.items()
    }
    target, headers = path_of("/v1/adapters", name), if_match(expected)
    return Request("PATCH", target, body=body, headers=headers, repeat=Repeat.UNLESS_SENT)


def restoration(name: str, digest: str, expected: str | None) -> Request:
    """An adapter's way back to an earlier content."""
    return Request(
        "POST",
        path_of("/v1/adapters", name, "restore"),
        body={"digest": digest},
        headers=if_match(expected),
        repeat=Repeat.UNLESS_SENT,
    )


def _upload(
    texts: dict[str, str],
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
) -> Form:
    check_known(routing, RoutingData.__optional_keys__)
    files = _adapter_files(path, pair)
    if path is not None and (beside := Path(path) / ROUTING_FILE).is_file():
        texts |= _routing_beside(beside)
    if routing.get("centroids") is not None:
        texts.pop("centroid", None)
    for key, value in routing.items():
        if isinstance(value, Path):
            texts.pop(key, None)
            files[key] = value
        elif value is not None:
            texts[key] = _as_text(value)
    return Form(texts, files, progress)


def remove(name: str) -> Request:
    """The removal of an adapter."""
    return Request("DELETE", path_of("/v1/adapters", name), repeat=Repeat.UNLESS_SENT)


def _adapter_files(path: PathOrText | None, pair: Pair) -> dict[str, Path]:
    config, weights = pair
    if path is None:
        if config is None or weights is None:
            raise ValueError("give a folder or an archive, or both 'config' and 'weights'")
        return {"config": Path(config), "file": Path(weights)}
    if config is not None or weights is not None:
        raise ValueError("give a folder or an archive, or 'config' and 'weights', not both")
    folder = Path(path)
    if not folder.is_dir():
        return {"archive": folder}
    files = {"config": folder / CONFIG_FILE, "file": folder / WEIGHTS_FILE}
    for file in files.values():
        if not file.is_file():
            raise FileNotFoundError(f"{folder} has no {file.name}; is it a PEFT adapter's folder?")
    return files


def _routing_beside(path: Path) -> dict[str, str]:
    """What a folder's own routing data say."""
    document = json.loads(path.read_text("utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return {name: _as_text(document[name]) for name in ROUTING_FIELDS if document.get(name)}


def _as_text(value: object) -> str:
    """A field of the form: texts as they are, lists as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
