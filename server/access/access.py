"""Everything that decides who may do what, in one value."""

from dataclasses import dataclass

from server.access.audit import AuditLog
from server.access.authentication import Callers
from server.access.key_refresh import KeyRefresh
from server.access.limits import Limiter


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what on one server."""

    callers: Callers
    limiter: Limiter
    key_refresh: KeyRefresh
    audit: AuditLog
