"""A finished adapter to a running server, with what its router needs."""

import json
from pathlib import Path

import httpx

from adapters.training.errors import TrainingError
from adapters.training.plan.recipe_file import Plan
from adapters.training.run.card import Card
from adapters.upload_form import adapter_files

EXAMPLES = 50
"""So many prompts of the training data go along, for the server to make the centroid from."""

_SECONDS = 300


def push(folder: Path, card: Card, plan: Plan, url: str, key: str | None) -> str:
    """Upload the adapter of a folder; returns what to say of it.

    Raises:
        TrainingError: the server cannot be reached, or refuses it.
    """
    from adapters.training.run.run import read_data

    examples = read_data(plan).examples[:EXAMPLES]
    lines = [json.dumps({"text": example.prompt}, ensure_ascii=False) for example in examples]
    told = {
        "name": card.name,
        "description": f"{plan.method.title}, {card.task}: {card.data.name}",
        "examples": "\n".join(lines),
    }
    files = {field: file.read_bytes() for field, file in adapter_files(folder).items()}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/v1/adapters",
            data=told,
            files=files,
            headers=headers,
            timeout=_SECONDS,
        )
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise TrainingError(
            f"the adapter is in {folder}, but no server answers at {url}: {error}"
        ) from None
    if answer.is_error:
        try:
            reason = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            reason = f"HTTP status {answer.status_code}"
        raise TrainingError(f"the adapter is in {folder}, but the server refused it: {reason}")
    return f"{url}: {card.name} {answer.json()['digest']}"
