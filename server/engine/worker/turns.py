"""Whose turn it is in the engine: tenants share its places and its steps, not requests.

vLLM serves who came first. A request for 64 answers then keeps everybody waiting who comes after
it, until half of them have ended. Here whoever has the fewest running comes first, and no tenant
may take a place where it has three times as many as are free:

    running(t) < SHARE · free          (dynamic thresholds, Choudhury and Hahne 1998)

so that some place is always free for who comes next: of 32 places one busy tenant has 24, two have
13 each. Prompts that are longer than a step share the steps, too. Servers without keys have one
tenant, which may take them all.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

SHARE: Final = 3
"""How many times the free places a tenant may have."""


def in_turns(
    waiting: Iterable[T],
    running: Iterable[T],
    places: int,
    tenant_of: Callable[[T], str],
    resumes: Callable[[T], bool],
) -> tuple[list[T], list[T]]:
    """Who may begin now, in order, and who waits on.

    Args:
        waiting: requests in the order in which they came.
        running: those that hold a place.
        places: how many there are.
        tenant_of: whose a request is; empty without keys, where there is one tenant.
        resumes: whether a request had begun before; its turn comes first, whosever it is.
    """
    counts = Counter(map(tenant_of, running))
    free = places - sum(counts.values())
    now: list[T] = []
    queues: dict[str, deque[T]] = {}
    for request in waiting:
        if resumes(request):
            now.append(request)
        else:
            queues.setdefault(tenant_of(request), deque()).append(request)
    counts.update(map(tenant_of, now))
    free -= len(now)
    heads = [(counts[tenant], number, tenant) for number, tenant in enumerate(queues)]
    heapq.heapify(heads)
    while heads and free > 0:
        count, number, tenant = heapq.heappop(heads)
        if tenant and count >= SHARE * free:
            break  # nobody has fewer
        now.append(queues[tenant].popleft())
        free -= 1
        if queues[tenant]:
            heapq.heappush(heads, (count + 1, number, tenant))
    return now, [request for queue in queues.values() for request in queue]


def prefill_order(
    running: Iterable[T], tenant_of: Callable[[T], str], prefilling: Callable[[T], bool]
) -> list[T]:
    """Running requests in the order of their turns: a step computes them until it is full.

    Answers come first, a token each; then a prompt of each tenant, then the second of each.

    Args:
        running: requests in the order in which they began.
        tenant_of: whose a request is.
        prefilling: whether its prompt is not computed yet.
    """
    ordered: list[tuple[int, T]] = []
    prompts: Counter[str] = Counter()
    for request in running:
        if prefilling(request):
            prompts[tenant_of(request)] += 1
            ordered.append((prompts[tenant_of(request)], request))
        else:
            ordered.append((0, request))
    return [request for _, request in sorted(ordered, key=lambda one: one[0])]


def prefill_share(prefilling: Sequence[str], first: str | None, tokens: int) -> int:
    """How much of each prompt one step may compute, in tokens; 0: as much as there is room.

    A step computes what runs before it begins what waits. Half of it is left over where a tenant
    waits whose prompts are none of those; else the tenants of the prompts have equal parts.

    Args:
        prefilling: the tenants of running requests whose prompts are not computed yet.
        first: the tenant whose turn is next; None if nobody waits.
        tokens: most of a step.
    """
    tenants = set(prefilling)
    if tenants and first is not None and first not in tenants:
        return max(1, tokens // (2 * len(prefilling)))
    return max(1, tokens // len(tenants)) if len(tenants) > 1 else 0
