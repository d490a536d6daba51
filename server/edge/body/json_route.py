"""Routes that take JSON: their bodies are read by us, strictly and once.

FastAPI reads bodies by rules of its own (NaN is a number, a half of a surrogate pair a text), on
the event loop whatever their size, and tells what is wrong with them in its own words. Here it gets
what was read.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute, request_response
from starlette.routing import BaseRoute

from server.edge.body.json_body import ReadRequest, handed_on, read_as, replayed
from server.edge.body.nulls import without_nulls
from server.edge.errors.first_faults import stop_at_first_faults

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRoute(APIRoute):
    """A route whose body, if it declares one, is a JSON object in which null is absent."""

    def get_route_handler(self) -> Handler:
        """The handler that FastAPI makes, given a body that was read strictly."""
        handle: Handler = super().get_route_handler()
        if self.body_field is None:
            return handle
        stop_at_first_faults(self)

        async def handle_json(request: Request) -> Response:
            body = await read_as(without_nulls, request.scope, request.receive)
            scope = handed_on(request.scope, body)
            return await handle(ReadRequest(scope, replayed(request.receive)))

        return handle_json


def take_read_bodies(routes: Iterable[BaseRoute]) -> None:
    """Let routes that others have made take bodies that middleware has read."""
    for route in routes:
        if isinstance(route, APIRoute):
            stop_at_first_faults(route)
            route.app = request_response(_taking_read(route.get_route_handler()))


def _taking_read(handle: Handler) -> Handler:
    async def handle_read(request: Request) -> Response:
        return await handle(ReadRequest(request.scope, request.receive))

    return handle_read
