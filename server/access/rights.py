"""What each route needs, by method and route template: the exact one that will serve the request.

Deny by default: a route that is not listed here is for admins alone. Neither the Host header nor
the path's beginning decides anything; the app's own routes do, by the match that will be made
(``server.access.matched_route``).
"""

from collections.abc import Mapping
from enum import Enum

from server.access.keys import Role
from server.access.matched_route import MatchedRoute


class Right(Enum):
    """What a caller must be allowed to do."""

    NOTHING = "nothing"
    """No key at all is needed."""
    ANY_KEY = "any_key"
    """Any key: the answer is that there is no such route, or that it takes another method."""
    USE = "use"
    MONITOR = "monitor"
    ADMINISTER = "administer"


GRANTED: Mapping[Role, frozenset[Right]] = {
    "metrics": frozenset({Right.NOTHING, Right.ANY_KEY, Right.MONITOR}),
    "user": frozenset({Right.NOTHING, Right.ANY_KEY, Right.USE}),
    "admin": frozenset(Right),
}

RIGHTS: Mapping[tuple[str, str], Right] = {
    ("GET", "/health"): Right.NOTHING,
    ("GET", "/ready"): Right.NOTHING,
    ("GET", "/metrics"): Right.MONITOR,
    ("GET", "/openapi.json"): Right.USE,
    ("GET", "/docs"): Right.USE,
    ("GET", "/docs/oauth2-redirect"): Right.USE,
    ("POST", "/v1/chat/completions"): Right.USE,
    ("POST", "/v1/completions"): Right.USE,
    ("POST", "/v1/responses"): Right.USE,
    ("GET", "/v1/responses/{response_id}"): Right.USE,
    ("POST", "/v1/responses/{response_id}/cancel"): Right.USE,
    ("POST", "/tokenize"): Right.USE,
    ("POST", "/detokenize"): Right.USE,
    ("POST", "/v1/route"): Right.USE,
    ("GET", "/v1/traces/{request_id}"): Right.USE,
    ("GET", "/v1/models"): Right.USE,
    ("GET", "/v1/models/{name:path}"): Right.USE,
    ("GET", "/v1/policies"): Right.USE,
    ("GET", "/v1/policies/{name}"): Right.USE,
    ("GET", "/v1/adapters"): Right.USE,
    ("GET", "/v1/adapters/{name}"): Right.USE,
    ("GET", "/v1/adapters/{name}/versions"): Right.USE,
    ("POST", "/v1/adapters"): Right.ADMINISTER,
    ("PUT", "/v1/adapters/{name}"): Right.ADMINISTER,
    ("PATCH", "/v1/adapters/{name}"): Right.ADMINISTER,
    ("DELETE", "/v1/adapters/{name}"): Right.ADMINISTER,
    ("POST", "/v1/adapters/{name}/restore"): Right.ADMINISTER,
    ("PUT", "/v1/policies/{name}"): Right.ADMINISTER,
    ("DELETE", "/v1/policies/{name}"): Right.ADMINISTER,
    ("GET", "/v1/policies/{name}/versions"): Right.ADMINISTER,
    ("POST", "/v1/imports"): Right.ADMINISTER,
    ("GET", "/v1/jobs"): Right.ADMINISTER,
    ("GET", "/v1/jobs/{job_id}"): Right.ADMINISTER,
    ("DELETE", "/v1/jobs/{job_id}"): Right.ADMINISTER,
    ("GET", "/lora-adapters"): Right.USE,
    ("POST", "/lora-adapters"): Right.USE,  # refused to everybody, each with the reason
    ("POST", "/v1/load_lora_adapter"): Right.ADMINISTER,
    ("POST", "/v1/unload_lora_adapter"): Right.ADMINISTER,
    ("GET", "/v1/audit"): Right.ADMINISTER,
}


def required(route: MatchedRoute | None) -> Right:
    """What a request needs.

    Args:
        route: what will serve it. None if nothing will: the answer is 404, or 405.
    """
    if route is None:
        return Right.ANY_KEY
    return RIGHTS.get((route.method, route.path), Right.ADMINISTER)
