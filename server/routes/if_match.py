"""``If-Match``: a change is made only to what its author has seen."""

import re
from typing import Final

from fastapi import Request

from server.errors import InvalidRequest

ANY: Final = "*"


def if_match(request: Request, characters: int) -> str | None:
    """What ``If-Match`` expects: a tag, ``*`` for whatever is there, or None for nothing.

    Args:
        request: its headers are read.
        characters: of a tag, in hexadecimal.

    Raises:
        InvalidRequest: the header holds something else.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == ANY:
        return None if given is None else ANY
    tag = re.fullmatch(rf'"([0-9a-f]{{{characters}}})"', given.strip())
    if tag is None:
        raise InvalidRequest(
            "If-Match must hold one tag in quotes, as ETag gives it, or *", param="If-Match"
        )
    return tag[1]


def expected_tag(request: Request, characters: int) -> str | None:
    """The tag that is expected of what must be there anyway; None for any. See :func:`if_match`."""
    expected = if_match(request, characters)
    return None if expected == ANY else expected
