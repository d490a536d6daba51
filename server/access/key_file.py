"""The file of API keys that the settings name."""

from pathlib import Path

from server.errors import InvalidSettings


def read_key_file(path: Path) -> tuple[str, ...]:
    """The keys of a file, one a line; empty lines and those that begin with ``#`` do not count.

    Raises:
        InvalidSettings: it cannot be read, holds no key, or a line is no key.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InvalidSettings(
            f"the API key file {path} cannot be read; it must be a text file with one key a line"
        ) from None
    keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
    if not keys:
        raise InvalidSettings(f"the API key file {path} holds no key")
    if any(not key.isascii() or any(c.isspace() for c in key) for key in keys):
        raise InvalidSettings(
            f"the API key file {path} has a line that is not a key: a key is an ASCII word without"
            " spaces"
        )
    return keys
