"""What the routes work with, as they find it on the app."""

import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from adapters.limits import Limits
from server.access.access import Access
from server.access.keys import Caller
from server.catalogue.catalogue import Catalogue
from server.engine.engine import EmbeddedEngine
from server.metrics import Metrics
from server.policies.catalogue import PolicyCatalogue
from server.residency.residency import Residency
from server.settings import Settings
from server.sources.imports import Imports
from server.traces.store import TraceStore


@dataclass(slots=True, kw_only=True)
class Parts:
    """One server's parts.

    Attributes:
        settings: what it was started with.
        engine: what generates.
        access: who may do what.
        residency: which adapters are in the engine's slots.
        catalogue: the adapters, and all that can be named.
        policies: the policies, and what may be done with them.
        imports: what fetches adapters, and its jobs.
        upload_limits: what an adapter that comes in is held to.
        traces: which mixture made which token.
        metrics: what is counted.
        started: when, in seconds since 1970 (UTC).
        ready: set once everything on disk is indexed.
    """

    settings: Settings
    engine: EmbeddedEngine
    access: Access
    residency: Residency
    catalogue: Catalogue
    policies: PolicyCatalogue
    imports: Imports
    upload_limits: Limits
    traces: TraceStore
    metrics: Metrics
    started: float = field(default_factory=time.time)
    ready: bool = False


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


PartsOf = Annotated[Parts, Depends(_parts)]
CallerOf = Annotated[Caller, Depends(_caller)]
