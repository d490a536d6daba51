"""An object store's refusals, as ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.errors import AdapterError, StorageFailed
from adapters.files import disk_full, is_full

_URL = re.compile(r"\b\w+://\S+")
_MAX_CHARACTERS = 200


@contextmanager
def object_errors(doing: str) -> Iterator[None]:
    """Turn the object store's refusals into ours: what failed and why, without addresses.

    Raises:
        StorageFull: there is no room on this machine's disk for a copy.
        StorageFailed: it refused, or cannot be reached.
    """
    try:
        yield
    except AdapterError:
        raise
    # fsspec lets through whatever its libraries raise, each of which has a tree of its own that
    # cannot be named before the library is loaded.
    except Exception as error:
        if is_full(error):
            raise disk_full(doing) from error
        raise StorageFailed(f"could not {doing}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return error.strerror
    lines = str(error).strip().splitlines()
    reason = _URL.sub("(address)", lines[0]) if lines else type(error).__name__
    return reason[:_MAX_CHARACTERS]
