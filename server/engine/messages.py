"""What crosses between the server, the engine core and the workers, typed.

Requests whose weights follow their answer have one family of words, from the router to the workers:

    Following       (router.decision)   a decision's: the policy that weighs again, and the prompt
    Reweighing      (router.reweighing) that policy, over the adapters that the request leased
    PutPolicy       a Reweighing on its way into the workers, once, under a key
    ReweighRequest  a Following on its way into the workers, with each request; names the key
    Reweigher       (engine.worker)     what makes the weighings in a worker
    Weighing        one of them on its way back to the server

A message with a field missing, unknown or of another type is refused where it is read: two sides
that do not agree are a fault of ours, and must not pass for a zero.
"""

from typing import Any, Final, Literal, Self

import msgspec

from router.mixture import Combination

EXTRA_KEY: Final = "loralloy"
"""Key of ``SamplingParams.extra_args`` that carries a request's mixture. Reserved: set by the
server alone."""

TENANT_KEY: Final = "loralloy_tenant"
"""Key that carries whose request it is, where there are several tenants. Reserved as well."""

MIXTURE_ATTRIBUTE: Final = "loralloy_mixture"
"""Attribute of vLLM's records of a request that holds its mixture, with what that was read from."""

AdapterWeights = tuple[tuple[int, float], ...]
"""What a weighing gives: (vLLM's id of an adapter, its weight). Empty: the base model alone."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value with a form of plain values, which is all that vLLM's own channels carry."""

    def to_wire(self) -> dict[str, Any]:
        """Plain values that :meth:`from_wire` reads; bytes stay bytes."""
        wire: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(bytes,))
        return wire

    @classmethod
    def from_wire(cls, wire: Any) -> Self:
        """The message of these plain values.

        Raises:
            msgspec.ValidationError: a field is missing, unknown or of another type.
        """
        return msgspec.convert(wire, cls)


class ReweighRequest(Message, frozen=True):
    """How the workers are to weigh a request again while its answer grows.

    Attributes:
        policy: the key of a policy that was put into the workers.
        scope: ``token`` or ``recompute``.
        stride: generated tokens from one weighing to the next.
        messages: the prompt's messages as (role, text).
        text: the prompt's text where there are no messages.
        trace: the name under which weighings are reported; None for not at all.
    """

    policy: str
    scope: Literal["token", "recompute"]
    stride: int
    messages: tuple[tuple[str, str], ...]
    text: str | None
    trace: str | None


class RequestMixture(Message, frozen=True):
    """A request's mixture, as it travels with the request's sampling parameters.

    Attributes:
        weights: the members and their weights, at the prompt.
        combination: the rule by which their updates are combined.
        reweigh: how the weights follow the answer; None if they stay.
    """

    weights: AdapterWeights
    combination: Combination
    reweigh: ReweighRequest | None

    @classmethod
    def carried_by(cls, request: Any) -> Self | None:
        """The mixture that a request carries; None for the base model.

        Args:
            request: the engine core's or the worker's record of it. What was read stays on it:
                every step asks.

        Raises:
            msgspec.ValidationError: what is under our key is no such mixture.
        """
        extra = None if request.sampling_params is None else request.sampling_params.extra_args
        wire = extra.get(EXTRA_KEY) if extra else None
        if wire is None:
            return None
        read, mixture = getattr(request, MIXTURE_ATTRIBUTE, (None, None))
        if read is not wire or not isinstance(mixture, cls):
            mixture = cls.from_wire(wire)
            setattr(request, MIXTURE_ATTRIBUTE, (wire, mixture))
        return mixture


class LoadAdapter(Message, frozen=True):
    """A part of an adapter's way into a slot.

    Attributes:
        adapter_id: vLLM's id; a new one begins a new adapter.
        digest: of the adapter's content.
        folder: its files, absolute.
        rank: the largest of its modules' ranks.
        scaling: ``lora_alpha / r``, the largest of its modules'.
        seconds: what this part may take.
    """

    adapter_id: int
    digest: str
    folder: str
    rank: int
    scaling: float
    seconds: float


class LoadEncoders(Message, frozen=True):
    """By which encoders running requests are weighed again, and where weighings are reported.

    Attributes:
        encoder: as ``router.encoders.make_encoder`` takes it.
        static: folder or name of the static encoder, or None.
        traces: address of the server's :class:`server.engine.trace_channel.TraceReceiver`.
    """

    encoder: str
    static: str | None
    traces: str


class PutPolicy(Message, frozen=True):
    """A policy for requests whose weights follow their answer.

    Attributes:
        key: the name by which requests refer to it.
        policy: ``Reweighing.to_wire()``.
        ids: digest → vLLM's id of its adapters, which are in slots.
    """

    key: str
    policy: dict[str, Any]
    ids: dict[str, int]


class WorkerReport(Message, frozen=True):
    """What is live in a worker, and what it counts.

    Attributes:
        wrapper: class of the punica wrapper that its LoRA layers call.
        is_bound: whether its layers are bound to the bank.
        is_hooked: whether each step passes our hook.
        adapters: ids of the adapters in its slots, ascending.
        policies: policies that it holds.
        gate_logs: requests whose weighings it holds; 0 where nothing runs.
        weighings: weighings of running requests since the start.
        failed_weighings: those that left the weights as they were.
        steps: steps since the start.
        mixed_steps: those in which some token had an adapter.
        step_mixtures: unlike mixtures in each step, summed; the base model alone is none.
    """

    wrapper: str
    is_bound: bool
    is_hooked: bool
    adapters: tuple[int, ...]
    policies: int
    gate_logs: int
    weighings: int
    failed_weighings: int
    steps: int
    mixed_steps: int
    step_mixtures: int


class BankProof(Message, frozen=True):
    """What a row did in each LoRA layer of a worker; all are empty where the bank is live.

    Attributes:
        unbound: layers that call another wrapper than the bank's.
        unmoved: layers some of whose outputs a gate does not move.
        ungated: layers that an adapter moves without a gate.
    """

    unbound: tuple[str, ...]
    unmoved: tuple[str, ...]
    ungated: tuple[str, ...]


class Weighing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A weighing of a running request, as the server hears of it.

    Attributes:
        trace: the server's name of the request.
        request: the engine's name of it, one for each of ``n`` answers.
        number: weighing number k reads the first k · stride generated tokens.
        weights: its result.
    """

    trace: str
    request: str
    number: int
    weights: AdapterWeights
