"""JSON from strangers: bounded in size and depth, no duplicate keys, no NaN."""

import json
import os
from pathlib import Path
from typing import NoReturn

from adapters.errors import MalformedFile, TooLarge, shown
from adapters.files import open_regular_file


def read_json_object(path: Path, max_bytes: int) -> dict[str, object]:
    """Read one JSON object from a file of at most ``max_bytes``."""
    with os.fdopen(open_regular_file(path), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise TooLarge(f"{path.name} is larger than {max_bytes} bytes")
    return parse_json_object(data, path.name)


def parse_json_object(data: bytes, what: str) -> dict[str, object]:
    """Parse one JSON object.

    Args:
        data: UTF-8 text.
        what: how messages name the source.

    Raises:
        MalformedFile: it is not UTF-8, not JSON, not an object, nested too deeply, repeats a key
            or holds NaN or Infinity.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise MalformedFile(f"{what} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise MalformedFile(
            f"{what} is not valid JSON: {error.msg} (line {error.lineno})"
        ) from None
    except RecursionError:
        raise MalformedFile(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise MalformedFile(f"{what} is not acceptable JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedFile(f"{what} must be a JSON object, not {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {shown(key)} appears twice")
            seen.add(key)
    return result


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")
