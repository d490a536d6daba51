"""Which adapters may be combined by a rule that adds their factors themselves."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from adapters.format.peft_format import module_scalings
from adapters.names import plain
from adapters.registry.registry import AdapterRegistry
from router.mixture import Combination
from server.errors import RanksDiffer


def check_ranks(
    registry: AdapterRegistry, combination: Combination, members: Collection[tuple[str, str]]
) -> None:
    """Let adapters, given as (name, digest), through that can be combined linearly.

    Raises:
        RanksDiffer: a linear combination of unlike ranks, or of a member whose rank or scaling
            differs from module to module.
        StorageFailed: a member cannot be fetched.
    """
    ranks: set[int] = set()
    for name, digest in members:
        adapter = registry.version(plain(name), digest)
        ranks.update(adapter.ranks)
        with registry.store.held(digest) as folder:
            is_even = len(adapter.ranks) == 1 and has_one_scaling(folder)
        if not is_even:
            raise RanksDiffer(
                f"combination {combination!r} needs one rank and one scaling for all "
                f"modules, but those of adapter {name!r} differ; use 'cat'",
                param="combination",
            )
    if len(ranks) > 1:
        raise RanksDiffer(
            f"combination {combination!r} adds the factors themselves, but the ranks "
            f"of these adapters differ ({', '.join(map(str, sorted(ranks)))}); use 'cat'",
            param="combination",
        )


@lru_cache(maxsize=4096)
def has_one_scaling(folder: Path) -> bool:
    """Whether all modules of a stored (immutable) adapter have one scaling."""
    return len(set(module_scalings(folder).values())) <= 1
