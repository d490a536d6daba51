"""An adapter on this machine as the form of an upload, for whoever sends it to a server.

    field                     holds
    config, file              a folder's adapter_config.json and adapter_model.safetensors
    archive                   a .zip or .tar.gz, in place of both
    examples, description,    what the router may know of it: a folder's own router.json, as far
    centroids, encoder …      as nothing else is given

Nothing is sent here. Messages name paths, since they are for the one whose files they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.errors import InvalidRouting, MissingFile
from adapters.files import CONFIG_FILE, ROUTING_FILE, WEIGHTS_FILE
from adapters.routing_data import ROUTING_FIELDS


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The parts of a ``multipart/form-data`` body.

    Attributes:
        texts: field → its text.
        files: field → the file that it holds.
    """

    texts: Mapping[str, str]
    files: Mapping[str, Path]


def upload_form(
    path: Path, given: Mapping[str, str | None], examples: Path | None = None
) -> UploadForm:
    """The form of an adapter's upload.

    Args:
        path: a PEFT folder, or an archive of one.
        given: field → its text, which counts more than the folder's routing data; None where
            nothing is given.
        examples: a file of example texts.

    Raises:
        MissingFile: the folder lacks one of its two files.
        InvalidRouting: its router.json cannot be read.
    """
    texts = {field: text for field, text in given.items() if text is not None}
    files = adapter_files(path)
    if path.is_dir() and (path / ROUTING_FILE).is_file():
        document = routing_document(path / ROUTING_FILE)
        texts = {**{field: _text(value) for field, value in document.items()}, **texts}
    if examples is not None:
        texts.pop("examples", None)
        files["examples"] = examples
    return UploadForm(texts, files)


def adapter_files(path: Path) -> dict[str, Path]:
    """Form field → file of an adapter's folder or archive.

    Raises:
        MissingFile: the folder lacks one of its two files.
    """
    if not path.is_dir():
        return {"archive": path}
    files = {"config": path / CONFIG_FILE, "file": path / WEIGHTS_FILE}
    for file in files.values():
        if not file.is_file():
            raise MissingFile(f"{path} has no {file.name}; is it a PEFT adapter's folder?")
    return files


def routing_document(path: Path) -> dict[str, Any]:
    """The fields of a router.json that are for the server, without those that are empty.

    Raises:
        InvalidRouting: it is not a JSON object.
    """
    try:
        document: Any = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise InvalidRouting(f"{path} is not valid JSON") from None
    if not isinstance(document, dict):
        raise InvalidRouting(f"{path} must hold a JSON object")
    return {field: value for field in ROUTING_FIELDS if (value := document.get(field))}


def _text(value: object) -> str:
    """A field of the form: texts as they are, lists as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
