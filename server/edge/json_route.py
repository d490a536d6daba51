"""Our own routes that take JSON: their bodies are read as strictly as those of generations.

FastAPI reads bodies by rules of its own (NaN is a number, a half of a surrogate pair a text), and
tells what is wrong with them in its own words. Here it gets what was read, written anew.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from server.edge.json_body import read_json, replayed, resized
from server.edge.nulls import without_nulls

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRoute(APIRoute):
    """A route whose body, if it declares one, is a JSON object in which null is absent."""

    def get_route_handler(self) -> Handler:
        """The handler that FastAPI makes, given a body that was read strictly."""
        handle: Handler = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            body = without_nulls(await read_json(request.scope, request.receive))
            raw = json.dumps(body).encode()
            return await handle(
                Request(resized(request.scope, len(raw)), replayed(raw, request.receive))
            )

        return handle_json
