"""Which of the app's routes will serve a request: found once, by the guard, and asked by everybody.

What a request needs, how large its body may be, whether adapters are mixed into it: all of it
hangs on the route, and none of it on a second reading of the path. The match is the router's own;
where it could still be read in two ways (a pattern that ends in ``$`` matches before a line break,
too), there is no route.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

STATE_KEY: Final = "route"
"""Where the request's state holds it."""


@dataclass(frozen=True, slots=True)
class MatchedRoute:
    """The route that serves a request.

    Attributes:
        method: the request's.
        path: the route's template, as ``/v1/adapters/{name}``; empty for one that has none.
    """

    method: str
    path: str


def match_route(scope: Scope, routes: Iterable[BaseRoute]) -> MatchedRoute | None:
    """The route that will serve a request.

    Args:
        scope: the request's, as the app's router will see it.
        routes: the app's, in their order.

    Returns:
        None where the router answers 404, or 405 since only the method is wrong, and for paths that
        are not plain.
    """
    if not is_plain(scope["path"]):
        return None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return MatchedRoute(scope["method"], getattr(route, "path", ""))
    return None


def matched_route(scope: Scope) -> MatchedRoute | None:
    """The route that the guard has found for a request."""
    found: MatchedRoute | None = scope["state"][STATE_KEY]
    return found


def is_plain(path: str) -> bool:
    """Whether a path, decoded, has nothing in it that cannot be seen: no control character."""
    return path.isprintable()
