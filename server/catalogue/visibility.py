"""What can be named, as one API key sees it.

An adapter that a key may not use does not exist for it: not by name, in mixtures, in lists, and not
for the router, which weighs what is left. A policy that names such an adapter itself, as a fixed
merge or as its fallback, is barred: without it, it would be another policy.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from router.errors import UnknownAdapterInPolicy, UnknownPolicy
from router.policies import PolicyConfig
from router.policies.config import RoutingOverrides
from router.policies.fallback import BASE, UNIFORM
from server.access.keys import AdapterRule
from server.catalogue.names import Names, barred

_MAX_KEPT = 256


class Visibility:
    """What each allow-list leaves of the names; kept until the names change. One event loop."""

    def __init__(self) -> None:
        self._of: Names | None = None
        self._kept: dict[AdapterRule, Names] = {}

    def narrowed(
        self, names: Names, policies: Mapping[str, PolicyConfig], rule: AdapterRule
    ) -> Names:
        """What an allow-list leaves of the names.

        Args:
            names: all that can be named now.
            policies: the policies among them.
            rule: the allow-list.
        """
        if rule.is_all:
            return names
        if self._of is not names or len(self._kept) >= _MAX_KEPT:
            self._of, self._kept = names, {}
        if rule not in self._kept:
            self._kept[rule] = narrowed(names, policies, rule)
        return self._kept[rule]


def narrowed(names: Names, policies: Mapping[str, PolicyConfig], rule: AdapterRule) -> Names:
    """The adapters that an allow-list allows, and the policies that it bars."""
    adapters = {name: one for name, one in names.adapters.items() if rule.allows(name)}
    removing = {name: one for name, one in names.removing.items() if rule.allows(name)}
    unfit = {name for name, policy in policies.items() if not needed(policy) <= adapters.keys()}
    return replace(
        names,
        adapters=adapters,
        removing=removing,
        barred=frozenset(unfit),
        numbers=names.numbers.narrowed(rule),
    )


@contextmanager
def hiding_invisible_adapters(
    rule: AdapterRule, policy: str, overrides: RoutingOverrides | None
) -> Iterator[None]:
    """Route within the block; an error names no adapter but one that the request itself has named.

    Policies may be replaced after a request was let through.

    Args:
        rule: the caller's allow-list.
        policy: the policy that weighs.
        overrides: what the request changes of it.

    Raises:
        ActionDenied: the policy needs an adapter that the caller does not see.
    """
    try:
        yield
    except UnknownAdapterInPolicy as error:
        if rule.is_all or error.adapter in _own(overrides):
            raise
        raise barred(policy) from None
    except UnknownPolicy:
        if rule.is_all:
            raise
        raise barred(policy) from None  # the error lists all policies


def _own(overrides: RoutingOverrides | None) -> set[str]:
    """The adapters that a request names in its changes to a policy."""
    if overrides is None:
        return set()
    included = overrides.candidates.include if overrides.candidates is not None else None
    return {*(included or ()), *([overrides.fallback] if overrides.fallback is not None else [])}


def needed(policy: PolicyConfig) -> set[str]:
    """The adapters without which a policy would be another one."""
    fallback = {policy.fallback} - {BASE, UNIFORM}
    return {*policy.named(), *fallback}


def shown_options(policy: PolicyConfig, names: Collection[str] | None) -> dict[str, object]:
    """A policy's options, as they are shown to a caller that sees only some adapters.

    Args:
        policy: one that is not barred.
        names: the adapters that the caller sees; None for all.
    """
    return policy.options_among(names)
