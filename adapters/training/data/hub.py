"""Training data from a dataset of a hub, or a folder that the library ``datasets`` reads."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from adapters.training.data.examples import checked, template_of
from adapters.training.data.templates import Example
from adapters.training.errors import TrainingError
from adapters.training.job import HubData


def read_hub(data: HubData, task: str) -> tuple[list[Example], str]:
    """The examples of a dataset and the SHA-256 of its rows, by the template of ``task``.

    Raises:
        TrainingError: it cannot be had, is empty, or a row lacks a field.
    """
    template = template_of(task)
    examples, digest = [], hashlib.sha256()
    for number, row in enumerate(_load(data), start=1):
        fields = {data.rename.get(column, column): value for column, value in row.items()}
        used = {name: fields[name] for name in template.fields if name in fields}
        digest.update(json.dumps(used, sort_keys=True, ensure_ascii=False).encode())
        examples.append(template.example(checked(used, template, f"{data.hub}, row {number}")))
    if not examples:
        raise TrainingError(f"{data.hub}: the split {data.split!r} is empty")
    return examples, digest.hexdigest()


def _load(data: HubData) -> list[Mapping[str, Any]]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        loaded = load_dataset(data.hub, data.subset, split=data.split, revision=data.revision)
    except (OSError, ValueError, DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"cannot load the dataset {data.hub}: {reason}") from None
    return list(loaded)
