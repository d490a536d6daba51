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


@dataclass(slots=True)
class Parts:
    """One server's parts.

    Attributes:
        started: when, in seconds since 1970 (UTC).
        ready: set once everything on disk is indexed.
    """

    settings: Settings
    engine: EmbeddedEngine
    catalogue: Catalogue
    residency: Residency
    metrics: Metrics
    limits: Limits
    traces: TraceStore
    access: Access
    policies: PolicyCatalogue
    imports: Imports
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
