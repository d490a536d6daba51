"""Writes what an admin did into the audit log, whichever way it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request

from server.access.audit import DONE, NOBODY, Deed
from server.routes.state import Parts


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
    detail: dict[str, Any] = {}
    outcome = "internal_error"
    try:
        yield detail
        outcome = DONE
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except Exception as error:
        outcome = getattr(error, "code", outcome)
        raise
    finally:
        deed = Deed(
            request.state.caller.id or NOBODY,
            action,
            target,
            outcome,
            detail,
            request.state.request_id,
        )
        # Shielded: a client that leaves, or the server's end, must not cost the entry.
        await asyncio.shield(asyncio.to_thread(parts.access.audit.record, deed))
