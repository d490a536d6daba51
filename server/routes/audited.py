"""Writes what an admin did into the audit log, whichever way it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from fastapi import Request

from server.access.audit import DONE, NOBODY, AuditEntry, AuditLog
from server.edge.disconnect import ClientGone
from server.routes.parts import Parts


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for something that may outlive the request: the key's id, and the request's."""

    id: str
    request_id: str | None

    @classmethod
    def of(cls, request: Request) -> Self:
        """Whoever sent a request."""
        return cls(request.state.caller.id or NOBODY, request.state.request_id)


@asynccontextmanager
async def audited(
    request: Request, parts: Parts, action: str, target: str
) -> AsyncIterator[dict[str, Any]]:
    """Do something within the block; when it has ended, the audit log has it.

    Args:
        request: who asks.
        parts: the server's parts.
        action: as ``adapter.add``.
        target: the name of what it is done to.

    Gives a dictionary for what else is worth knowing: plain values, never a secret.
    """
    async with audited_for(Actor.of(request), parts.access.audit, action, target) as detail:
        yield detail


@asynccontextmanager
async def audited_for(
    actor: Actor, audit: AuditLog, action: str, target: str
) -> AsyncIterator[dict[str, Any]]:
    """The same without the request, of which nothing is held that long."""
    detail: dict[str, Any] = {}
    outcome = "internal_error"
    try:
        yield detail
        outcome = DONE
    except (asyncio.CancelledError, ClientGone):
        outcome = "cancelled"
        raise
    except Exception as error:  # whatever it failed at is told by its code, and goes on
        outcome = getattr(error, "code", outcome)
        raise
    finally:
        entry = AuditEntry(actor.id, action, target, outcome, detail, actor.request_id)
        # Shielded: a client that leaves, or the server's end, must not cost the entry.
        await asyncio.shield(asyncio.to_thread(audit.record, entry))
