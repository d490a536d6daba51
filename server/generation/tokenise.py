"""Reads the ``model`` of vLLM's routes that generate nothing: tokenise and detokenise.

vLLM knows every name. Without this it would tell any caller which adapters there are.
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
from server.generation.selection import read_model, select_model

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
            body = without_nulls(await read_json(scope, receive))
            if body.get("model"):
                model = read_model(body["model"])
                visible = scope["state"]["caller"].visible
                names = await names_for(self._catalogue, visible, [model] if model else [])
                # Every name has the base model's tokenizer.
                body["model"] = select_model(model, names).model
        except ClientGone:
            return
        except OURS as error:
            await error_response(error)(scope, receive, send)
            return
        # Written anew, so that vLLM cannot read another name in it than was read here.
        raw = json.dumps(body).encode()
        await self._app(resized(scope, len(raw)), replayed(raw, receive), send)
