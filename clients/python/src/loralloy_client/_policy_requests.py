"""What the methods of policies send."""

from __future__ import annotations

from loralloy_client._requests import Json, Request, if_match, path_of
from loralloy_client._retry import Repeat


def put(name: str, options: Json, expected: str | None) -> Request:
    """A policy, new or in place of another one."""
    return Request(
        "PUT",
        path_of("/v1/policies", name),
        body=dict(options),
        headers=if_match(expected),
        repeat=Repeat.UNLESS_SENT,
    )


def remove(name: str, expected: str | None) -> Request:
    """The removal of a policy."""
    return Request(
        "DELETE",
        path_of("/v1/policies", name),
        headers=if_match(expected),
        repeat=Repeat.UNLESS_SENT,
    )
