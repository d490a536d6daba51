"""Reads who is named in bodies of vLLM's routes that generate nothing: tokenise and detokenise.

vLLM knows every name. Without this it would tell any caller which adapters there are. Fields that
name adapters are read as in a generation, so that no name is taken here that is refused there.
"""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.matched_route import MatchedRoute, matched_route
from server.catalogue.catalogue import Catalogue
from server.edge.disconnect import ClientGone
from server.edge.error_status import OURS, error_response
from server.edge.json_body import read_json, replayed, resized
from server.edge.nulls import without_nulls
from server.generation.named_versions import names_for
from server.generation.selection import OUR_FIELDS, SelectionFields, read_selection, select
from server.generation.unknown_fields import refuse_beside_body

ROUTES = frozenset({MatchedRoute("POST", "/tokenize"), MatchedRoute("POST", "/detokenize")})


class TokeniseMiddleware:
    """Pure ASGI: lets through what names a model that the caller sees."""

    def __init__(self, app: ASGIApp, catalogue: Catalogue) -> None:
        self._app = app
        self._catalogue = catalogue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or matched_route(scope) not in ROUTES:
            await self._app(scope, receive, send)
            return
        try:
            refuse_beside_body(scope)
            body = without_nulls(await read_json(scope, receive))
            fields = read_selection(body)
            body = {name: value for name, value in body.items() if name not in OUR_FIELDS}
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
        # Written anew, so that vLLM cannot read another name in it than was read here.
        raw = json.dumps(body).encode()
        await self._app(resized(scope, len(raw)), replayed(raw, receive), send)
