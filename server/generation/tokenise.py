"""Reads who is named in bodies of vLLM's routes that generate nothing: tokenise and detokenise.

vLLM knows every name. Without this it would tell any caller which adapters there are. Fields that
name adapters are read as in a generation, so that no name is taken here that is refused there.
"""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.matched_route import MatchedRoute, matched_route
from server.catalogue.catalogue import Catalogue
from server.edge.body.json_body import handed_on, read_as, replayed
from server.edge.body.nulls import without_nulls
from server.edge.disconnect import ClientGone
from server.edge.errors.error_status import OURS, error_response
from server.edge.settings import LimitSettings
from server.generation.bounds.body_sizes import check_sizes
from server.generation.bounds.unknown_fields import refuse_beside_body
from server.generation.named_versions import names_for
from server.generation.selection import OUR_FIELDS, SelectionFields, read_selection, select

ROUTES = frozenset({MatchedRoute("POST", "/tokenize"), MatchedRoute("POST", "/detokenize")})


class TokeniseMiddleware:
    """Pure ASGI: lets through what names a model that the caller sees."""

    def __init__(self, app: ASGIApp, catalogue: Catalogue, limits: LimitSettings) -> None:
        self._app = app
        self._catalogue = catalogue
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or matched_route(scope) not in ROUTES:
            await self._app(scope, receive, send)
            return
        try:
            refuse_beside_body(scope)
            body, fields = await read_as(self._read, scope, receive)
            if fields != SelectionFields():
                visible = scope["state"]["caller"].visible
                names = await names_for(self._catalogue, visible, fields.names)
                # Every name has the base model's tokenizer.
                body["model"] = select(fields, names).model
        except ClientGone:
            return
        except OURS as error:
            await error_response(error)(scope, receive, send)
            return
        # vLLM gets what was read, so that it cannot read another name in it.
        await self._app(handed_on(scope, body), replayed(receive), send)

    def _read(self, body: dict[str, Any]) -> tuple[dict[str, Any], SelectionFields]:
        """What vLLM may see of a body, and what it says of adapters."""
        body = without_nulls(body)
        check_sizes(body, self._limits)
        fields = read_selection(body)
        return {name: one for name, one in body.items() if name not in OUR_FIELDS}, fields
