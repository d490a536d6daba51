"""Which policies there are: those of the database, over those of the file."""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy import Engine

from router.errors import InvalidPolicy, Problem, UnknownPolicy
from router.policies import PolicyConfig
from router.policies.config import parse_policy
from server.errors import PolicyNotRemovable, PolicyVersionConflict
from server.policies.rows import PolicyRows, Row

logger = logging.getLogger(__name__)

ANY_VERSION: Final = "*"
"""Expected of a policy that must be there, whichever version it has."""

MAX_POLICIES: Final = 1000
"""Of a file and the database together: each is looked at for every list of what can be named."""

Source = Literal["api", "file"]


class PolicyRegistry:
    """The policies of one server. Writers take turns outside; readers see what was last replaced.

    Args:
        database: the registry's.
        from_file: what the file of policies has.

    Attributes:
        from_file: the same.

    Raises:
        StorageFailed: the database refused.
    """

    def __init__(self, database: Engine, from_file: Mapping[str, PolicyConfig]) -> None:
        self.from_file = MappingProxyType(dict(from_file))
        self._rows = PolicyRows(database)
        self._revision = -1
        self._put: Mapping[str, PolicyConfig] = {}
        self._unreadable: frozenset[str] = frozenset()
        self.refresh()

    @property
    def policies(self) -> Mapping[str, PolicyConfig]:
        """Every policy that counts, by name."""
        return {**self.from_file, **self._put}

    @property
    def names(self) -> frozenset[str]:
        """Names that no adapter may have."""
        return frozenset({*self.from_file, *self._put, *self._unreadable})

    def source(self, name: str) -> Source:
        """Where a policy comes from."""
        return "api" if name in self._put else "file"

    def put(self, name: str, policy: PolicyConfig, expected: str | None) -> bool:
        """Keep a policy from now on; say whether its name is new.

        Args:
            name: a name of the right form.
            policy: what it is to be.
            expected: the version that it must have now; None for any, or none at all.

        Raises:
            InvalidPolicy: there are as many as are kept.
            PolicyVersionConflict: it has another version, or is not there.
            PolicyNameTaken: an adapter has the name.
            StorageFailed: the database refused.
        """
        is_new = name not in self.policies
        if is_new and len(self.policies) >= MAX_POLICIES:
            problem = f"there are {MAX_POLICIES} policies, the most that are kept; remove some"
            raise InvalidPolicy([Problem("", problem)])
        self._rows.put(name, policy, lambda row: self._check(name, row, expected))
        self._put = {**self._put, name: policy}
        self._unreadable -= {name}
        return is_new

    def remove(self, name: str, expected: str | None) -> PolicyConfig | None:
        """Drop what was put under a name; the file's policy, if there is one, counts again.

        Returns:
            The file's policy.

        Raises:
            UnknownPolicy: there is none.
            PolicyNotRemovable: it is the file's.
            PolicyVersionConflict: it has another version than the expected one.
            StorageFailed: the database refused.
        """

        def check(row: Row | None) -> None:
            if row is None and name in self.from_file:
                raise PolicyNotRemovable(
                    f"policy {name!r} comes from the server's file of policies: take it out of the "
                    "file, or put another policy under its name",
                    param="name",
                )
            if row is None:
                raise UnknownPolicy(name, self.policies)
            self._check(name, row, expected)

        self._rows.remove(name, check)
        self._put = {key: policy for key, policy in self._put.items() if key != name}
        self._unreadable -= {name}
        return self.from_file.get(name)

    def versions(self, name: str) -> list[Row]:
        """What was put under a name, the latest first; nothing for a policy of the file.

        Raises:
            UnknownPolicy: there is no such policy.
            StorageFailed: the database refused.
        """
        found = self._rows.history(name)
        if not found and name not in self.from_file:
            raise UnknownPolicy(name, self.policies)
        return found

    def refresh(self) -> bool:
        """Take up what other servers have changed; say whether they may have changed anything.

        Raises:
            StorageFailed: the database refused; the next time takes it up.
        """
        self._revision, rows = self._rows.changes(self._revision)
        if rows is None:
            return False
        self._put, self._unreadable = _read(rows)
        return True

    def _check(self, name: str, row: Row | None, expected: str | None) -> None:
        if expected is None:
            return
        now = self.from_file.get(name) if row is None else _policy(row)
        if now is None or expected not in (ANY_VERSION, now.version):
            state = "is not there" if now is None else f"has version {now.version}"
            raise PolicyVersionConflict(
                f"policy {name!r} {state}, which is not what the change expected; get it again, "
                "then repeat the change"
            )


def _read(rows: Iterable[Row]) -> tuple[Mapping[str, PolicyConfig], frozenset[str]]:
    """The policies of rows, and the names of those that cannot be read."""
    read = {row.name: _policy(row) for row in rows}
    found = {name: policy for name, policy in read.items() if policy is not None}
    return found, frozenset(read.keys() - found.keys())


def _policy(row: Row) -> PolicyConfig | None:
    """The policy of a row; None, and a warning, if a newer version of this program wrote it."""
    try:
        return parse_policy(row.name, row.options)
    except InvalidPolicy as error:
        logger.warning("the policy %s of the database is left out: %s", row.name, error)
        return None
