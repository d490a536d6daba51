"""Web pages of other origins (CORS): what a browser is told, before and after it asks.

Starlette's middleware says it; it stands outside of the guard, so that a browser may ask without a
key whether it may call (it never sends one with that question), and that a page can read answers
that are errors, too. Keys are no cookies: nothing is sent along unless the page's own code does.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from server.edge.errors.error_status import error_response
from server.edge.settings import CorsSettings
from server.errors import CrossOrigin

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
READABLE: Final = ("ETag", "Location", "Retry-After", "X-Loralloy-Mixture", "X-Request-Id")
"""Headers of answers that a page's code may read."""


class Cors(CORSMiddleware):
    """Pure ASGI: answers browsers' questions, and marks answers that a page may read.

    Args:
        app: what serves the requests.
        settings: which origins.
    """

    def __init__(self, app: ASGIApp, settings: CorsSettings) -> None:
        super().__init__(
            app,
            allow_origins=settings.origins,
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=READABLE,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Whether a page may call; a refusal has the shape of every error."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refusal = error_response(
            CrossOrigin(
                "the web page's origin, or the method that it asks for, is not allowed here; the "
                "setting cors.origins lists the origins that are"
            )
        )
        refusal.headers["Vary"] = answer.headers["Vary"]
        return refusal
