"""From the Authorization header to who is calling.

Keys come from the settings, and from the database, which is looked at again and again
(``server.access.key_refresh``). They are found by their SHA-256 in a dictionary. How long that
takes may tell where two digests differ, but not where two keys do: nobody can choose keys by their
digests, so that there is nothing to be learned step by step, and no comparison has to take constant
time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final

from server.access.keys import ApiKey, Caller, Quota, digest_of
from server.access.rows import Stored
from server.errors import NotReady, Unauthorized

STALE_S: Final = 60.0
"""Keys of a database that could not be read for so long are not taken: one may be revoked."""


class Callers:
    """Who holds which key. Thread-safe.

    Args:
        given: the keys of the settings; each may do everything.
        quota: what keys may ask for that say nothing of it themselves.
        only_local: whether only this machine can reach the server, so that it may be used without
            keys while there are none.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        given: Sequence[str],
        quota: Quota,
        *,
        only_local: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = {
            digest_of(key): Caller(f"settings-{number}", quota=quota)
            for number, key in enumerate(given, 1)
        }
        self._quota = quota
        self._only_local = only_local
        self._clock = clock
        self._stored: Mapping[str, ApiKey] = {}
        self._total = 0
        self._read_at = clock()
        self._used: dict[str, float] = {}
        self._lock = Lock()

    @property
    def needs_key(self) -> bool:
        """Whether a request needs a key.

        Once there has been one it does, also when every key is revoked or has expired: the last
        key's end must not open the door.
        """
        return bool(self._given) or self._total > 0 or not self._only_local

    def take(self, stored: Stored) -> None:
        """These are the keys of the database now."""
        self._stored, self._total = stored.by_digest, stored.total
        self.confirm()

    def confirm(self) -> None:
        """The keys of the database are still the same."""
        self._read_at = self._clock()

    def taken_uses(self) -> dict[str, float]:
        """When keys were used since this was last asked: id → seconds since 1970."""
        with self._lock:
            used, self._used = self._used, {}
            return used

    def identify(self, header: str | None) -> Caller:
        """Who sends this Authorization header.

        Raises:
            Unauthorized: a key is needed, and the header holds none that is taken.
            NotReady: the key's database cannot be read.
        """
        if not self.needs_key:
            return Caller(quota=self._quota)
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("an API key is needed: send the header 'Authorization: Bearer KEY'")
        digest = digest_of(key.strip())
        given = self._given.get(digest)
        return self._of_database(digest) if given is None else given

    def _of_database(self, digest: str) -> Caller:
        found = self._stored.get(digest)
        now = time.time()
        if found is None or not found.is_usable(now):
            raise Unauthorized("the API key is not known to this server, has expired or is revoked")
        if self._clock() - self._read_at > STALE_S:
            raise NotReady(
                "API keys cannot be checked, since their database does not answer; try again later",
                retry_after=5,
            )
        with self._lock:
            self._used[found.id] = now
        return Caller(found.id, found.role, found.adapters, found.quota.over(self._quota))
