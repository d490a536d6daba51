"""The stages of a generation, each from one frozen value to the next: read, select, route, check.

    body → read → GenerationRequest → select → Selection → route → Generation → check

What holds something, the lease and the run, is in ``server.generation.middleware``.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.decision import RouteDecision
from router.window import RoutingInput
from server.access.keys import AdapterRule
from server.catalogue.catalogue import Catalogue
from server.catalogue.visibility import hiding_invisible_adapters
from server.edge.body.nulls import without_nulls
from server.edge.body.numbers import check_numbers
from server.edge.settings import LimitSettings
from server.engine.structured.settings import StructuredOutputSettings
from server.errors import InvalidRequest
from server.generation.body import CleanBody, clean
from server.generation.bounds.body_sizes import check_sizes
from server.generation.bounds.field_bounds import check_bounds
from server.generation.bounds.field_kinds import check_kinds
from server.generation.bounds.schema_cycles import check_schemas
from server.generation.decided import Generation
from server.generation.named_versions import names_for
from server.generation.prompts import Api, Decode, count_prompts, read_prompts
from server.generation.selection import Selection, SelectionFields, read_selection
from server.generation.selection import select as select_names
from server.traces.applied import Applied


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request for a generation: its body, read strictly, and what its sender may name.

    Attributes:
        api: the way in which it asks.
        body: the whole body as it came, but for fields that are null.
        cleaned: what vLLM may see of it.
        fields: what it says of adapters and policies.
        prompts: how many it has.
        rule: its sender's allow-list.
    """

    api: Api
    body: Mapping[str, Any]
    cleaned: CleanBody
    fields: SelectionFields
    prompts: int
    rule: AdapterRule


def read(
    api: Api,
    body: Mapping[str, Any],
    rule: AdapterRule,
    limits: LimitSettings,
    structured: StructuredOutputSettings,
) -> GenerationRequest:
    """Read a body, in which null is absent; no name in it is looked up.

    Raises:
        UnsupportedParameter: a field that this server does not honour.
        InvalidRequest: a field of the wrong type or past its bounds, too many prompts, a mixture
            that cannot be read, a text or a list that is too long, or a JSON schema that no answer
            can fit.
        RoutingError: changes to a policy that do not fit.
    """
    body = without_nulls(body)
    check_numbers(body)
    check_kinds(body)
    check_bounds(body, structured)  # first: its messages tell of one field, not of all together
    check_sizes(body, limits)
    prompts = count_prompts(api, body)
    cleaned = clean(body, limits.max_choices)
    answers = prompts * max(1, body.get("n", 1))
    if answers > limits.max_answers:
        raise InvalidRequest(
            f"{answers} answers, 'n' to each prompt, are too many for one request; ask for at most "
            f"{limits.max_answers}",
            param="n",
        )
    check_schemas(body)
    return GenerationRequest(api, body, cleaned, read_selection(body), prompts, rule)


async def select(request: GenerationRequest, catalogue: Catalogue) -> Selection:
    """Look up what a request names.

    Raises:
        ModelNotFound: a name stands for nothing that the sender sees.
        VersionNotFound: an adapter has no version of that digest.
        InvalidMixture: too many versions, one under two names, or overrides without a policy.
        ActionDenied: a policy that the sender cannot use.
        InvalidAdapter: a version does not fit the base model or the limits of now.
        StorageFailed: the database refused.
    """
    names = await names_for(catalogue, request.rule, request.fields.names)
    return select_names(request.fields, names)


async def route(
    request: GenerationRequest,
    selection: Selection,
    catalogue: Catalogue,
    decode: Decode,
    without: Collection[str] = (),
) -> Generation:
    """Give every prompt its mixture: the given one, or the policy's for its text.

    Args:
        request: the request.
        selection: what it has selected.
        catalogue: what there is.
        decode: token ids to text.
        without: names of adapters that a policy is to do without.

    Raises:
        InvalidRequest: prompts that a policy cannot read.
        RoutingError: the policy cannot be used.
        ActionDenied: the policy needs an adapter that the sender does not see.
    """
    if selection.mixture is not None:
        applied = [Applied(selection.mixture)] * request.prompts
    else:
        inputs = await asyncio.to_thread(read_prompts, request.api, request.body, decode)
        decisions = await decide(inputs, selection, catalogue, request.rule, without)
        applied = [Applied(one.mixture, one) for one in decisions]
    return Generation(applied, request.cleaned, selection.model, request.api).counted()


async def decide(
    inputs: Sequence[RoutingInput],
    selection: Selection,
    catalogue: Catalogue,
    rule: AdapterRule,
    without: Collection[str] = (),
) -> list[RouteDecision]:
    """The selected policy's decision for each text, among the adapters that a sender sees.

    Args:
        inputs: the texts.
        selection: what was selected, a policy.
        catalogue: what there is.
        rule: the sender's allow-list.
        without: names of adapters that the policy is to do without.

    Raises:
        RoutingError: the policy cannot be used.
        ActionDenied: it needs an adapter that the sender does not see.
    """
    router, visible = catalogue.router, catalogue.visible_adapters(rule)
    told = None if rule.is_all else catalogue.visible_to(rule).adapters.keys()
    if without:
        seen = router.index.snapshot.entries if visible is None else visible
        visible = frozenset(seen) - frozenset(without)
    policy, overrides = selection.policy or "", selection.overrides
    with hiding_invisible_adapters(rule, policy, overrides):
        return await asyncio.to_thread(
            lambda: [router.route(one, policy, overrides, visible, told) for one in inputs]
        )


async def check(generation: Generation, catalogue: Catalogue) -> None:
    """Let a generation through whose adapters can be combined, and are still there.

    Raises:
        RanksDiffer: its combination is not defined for its members.
        AdapterBeingRemoved: one of its adapters has been removed meanwhile.
        StorageFailed: an adapter cannot be fetched.
    """
    for one in generation.applied:
        await catalogue.check_combination(one.combination, one.members)
    await catalogue.check_present(generation.members)  # last: the lease must follow at once
