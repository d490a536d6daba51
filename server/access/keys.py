"""What an API key is, and what whoever holds it may do."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

Role = Literal["user", "admin", "metrics"]
ROLES: tuple[Role, ...] = get_args(Role)

PREFIX = "lla_"
"""By which people, and scanners for secrets, recognise a key."""

_SECRET_BYTES = 32
_PATTERN = re.compile(r"[a-z0-9._*-]{1,64}")


@dataclass(frozen=True, slots=True)
class AdapterRule:
    """Which adapters a key may use: names, with ``*`` for any characters; None for all.

    It looks at the name alone, never at what there is: what it does not allow and what does not
    exist cannot be told apart.
    """

    patterns: tuple[str, ...] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.patterns is None

    def allows(self, name: str) -> bool:
        """Whether an adapter of this name may be used."""
        return self.patterns is None or any(fnmatchcase(name, one) for one in self.patterns)


ALL_ADAPTERS = AdapterRule()


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one key may ask for; None for any amount.

    Attributes:
        requests_per_minute: so many at once at most, and as many more each minute.
        max_concurrent: requests that run at the same time.
    """

    requests_per_minute: int | None = None
    max_concurrent: int | None = None

    def over(self, default: "Quota") -> "Quota":
        """The same, with the default where it says nothing."""
        rate, slots = self.requests_per_minute, self.max_concurrent
        return Quota(
            default.requests_per_minute if rate is None else rate,
            default.max_concurrent if slots is None else slots,
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: all but the key itself. Times are in seconds since 1970 (UTC).

    Attributes:
        id: by which it is named, shown and revoked; tells nothing of the key.
        adapters: what it may use.
        expires: from when on it is no longer taken, or None.
        revoked: since when it is no longer taken, or None.
    """

    id: str
    role: Role
    created: float
    adapters: AdapterRule = ALL_ADAPTERS
    note: str | None = None
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    quota: Quota = field(default_factory=Quota)

    def is_usable(self, now: float) -> bool:
        """Whether requests may come with it."""
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        id: the key's id, which is the tenant too: caches and traces are not shared between
            tenants. "" where no key was needed.
        visible: the adapters that exist for it.
    """

    id: str = ""
    role: Role = "admin"
    visible: AdapterRule = ALL_ADAPTERS
    quota: Quota = field(default_factory=Quota)


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def new_id() -> str:
    """An id for a key, made without it."""
    return "key-" + secrets.token_hex(6)


def digest_of(key: str) -> str:
    """What is kept of a key: its SHA-256, 64 hexadecimal characters.

    No slow hash is needed: nobody can try out 2^256 keys (docs/adr/0011).
    """
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def is_pattern(text: str) -> bool:
    """Whether a text can be an entry of an allow-list."""
    return _PATTERN.fullmatch(text) is not None
