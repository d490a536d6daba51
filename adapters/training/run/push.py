"""A finished adapter to a running server, with what its router needs."""

import json
from pathlib import Path

import httpx

from adapters.training.errors import TrainingError
from adapters.training.refusal import refusal
from adapters.training.run.run import Finished
from adapters.upload_form import adapter_files

EXAMPLES = 50
"""So many prompts of the training data go along, for the server to make the centroid from."""

_SECONDS = 300


def push(folder: Path, finished: Finished, title: str, url: str, key: str | None) -> str:
    """Upload the adapter of a folder; returns what to say of it.

    Args:
        folder: with the adapter.
        finished: the run that made it.
        title: of the method, for the description.
        url: of the server.
        key: API key, if it needs one.

    Raises:
        TrainingError: the server cannot be reached, or refuses it.
    """
    card = finished.card
    texts = [
        json.dumps({"text": prompt}, ensure_ascii=False) for prompt in finished.prompts[:EXAMPLES]
    ]
    fields = {
        "name": card.name,
        "description": f"{title}, {card.task}: {card.data.name}",
        "examples": "\n".join(texts),
    }
    files = {field: file.read_bytes() for field, file in adapter_files(folder).items()}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/v1/adapters",
            data=fields,
            files=files,
            headers=headers,
            timeout=_SECONDS,
        )
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise TrainingError(
            f"the adapter is in {folder}, but no server answers at {url}: {error}"
        ) from None
    if answer.is_error:
        raise TrainingError(
            f"the adapter is in {folder}, but the server refused it: {refusal(answer)}"
        )
    return f"{url}: {card.name} {answer.json()['digest']}"
