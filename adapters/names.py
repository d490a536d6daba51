"""Names of adapters (and of policies, which share their space), and of an adapter's versions.

A name is a file name in the registry, a model name on the wire and a label in metrics, so it is
kept to lower-case letters, digits, dots, underscores and hyphens. One version of an adapter is
``name@digest``: ``@`` is in no name, so that the two never meet.
"""

import re
from collections.abc import Callable, Collection
from typing import Final

from adapters.adapter import Adapter
from adapters.errors import InvalidName, shown

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Matched against the whole name."""

RESERVED_NAMES = frozenset({"text", "image", "audio", "video", "input", "base"})
"""Words that model fields or vLLM's own routes give another meaning."""

AT: Final = "@"
"""Between an adapter's name and the digest of one of its versions."""

SHOWN_DIGITS: Final = 12
"""So many hexadecimal digits of a digest name a version in answers."""

Reserved = Collection[str] | Callable[[], Collection[str]]
"""Further reserved names: fixed, or asked for each time (policies come and go while serving)."""


def check_name(name: str, reserved: Reserved = ()) -> str:
    """Return the name if it may be given to an adapter.

    Raises:
        InvalidName: it breaks the pattern or is reserved.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        raise InvalidName(
            f"{shown(name)} cannot be an adapter's name: use 1 to 64 of a-z, 0-9, '.', '_' and "
            "'-', starting with a letter or a digit"
        )
    taken = reserved() if callable(reserved) else reserved
    if name in RESERVED_NAMES or name in taken:
        raise InvalidName(
            f"{name!r} cannot be an adapter's name: it is reserved or already names the base "
            "model or a policy; choose another"
        )
    return name


def version_name(adapter: Adapter) -> str:
    """The name of one version of an adapter in answers; requests can use it too."""
    return f"{adapter.name}{AT}{adapter.digest[:SHOWN_DIGITS]}"


def plain(name: str) -> str:
    """The adapter's name, without a version's digest."""
    return name.partition(AT)[0]
