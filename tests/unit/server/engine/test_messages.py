"""What crosses between the processes arrives as it was sent, or is refused."""

from types import SimpleNamespace

import msgspec
import pytest

from server.engine.messages import (
    EXTRA_KEY,
    LoadAdapter,
    LoadEncoders,
    Message,
    PutPolicy,
    RequestMixture,
    ReweighRequest,
    Weighing,
    WorkerReport,
)

REWEIGH = ReweighRequest(
    "key", "recompute", 4, (("user", "hi"), ("assistant", "yes")), None, "trace"
)
MESSAGES = [
    REWEIGH,
    ReweighRequest("key", "token", 1, (), "hello", None),
    RequestMixture(((1, 0.25), (2, 0.75)), "linear", None),
    RequestMixture((), "cat", REWEIGH),
    LoadAdapter(3, "5e1f", "/adapters/5e1f", 8, 2.0, 0.012),
    LoadEncoders("all-MiniLM-L6-v2", None, "ipc:///traces"),
    PutPolicy("key", {"names": ["a"], "rows": b"\x00\x01"}, {"5e1f": 3}),
    WorkerReport("GatedPunicaCPU", True, True, (1, 3), 1, 2, 40, 0, 100, 90, 180),
]


def sent(wire: object) -> object:
    """As vLLM's channels carry it: in msgpack, which knows no tuples."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(wire))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert type(message).from_wire(message.to_wire()) == message
    assert type(message).from_wire(sent(message.to_wire())) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_field_that_is_missing_unknown_or_of_another_type_is_refused(message: Message) -> None:
    wire = message.to_wire()
    for name in wire:
        missing = {key: value for key, value in wire.items() if key != name}
        with pytest.raises(msgspec.ValidationError, match=f"required field `{name}`"):
            type(message).from_wire(missing)
        with pytest.raises(msgspec.ValidationError, match=f"Expected .*{name}"):
            type(message).from_wire({**wire, name: object()})
    with pytest.raises(msgspec.ValidationError, match="unknown field `weighing`"):
        type(message).from_wire({**wire, "weighing": 0})


def test_a_field_deep_in_a_message_is_refused_too() -> None:
    wire = RequestMixture((), "cat", REWEIGH).to_wire()
    wire["reweigh"]["strid"] = wire["reweigh"].pop("stride")
    with pytest.raises(msgspec.ValidationError, match="reweigh"):
        RequestMixture.from_wire(wire)


def test_a_weighing_of_another_length_is_refused() -> None:
    decoder = msgspec.msgpack.Decoder(list[Weighing])
    weighing = Weighing("trace", "0_trace", 2, ((1, 1.0),))
    assert decoder.decode(msgspec.msgpack.encode([weighing])) == [weighing]
    for row in (["trace", "0_trace", 2], ["trace", "0_trace", 2, [[1, 1.0]], 0]):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.msgpack.encode([row]))


def request(**extra: object) -> SimpleNamespace:
    return SimpleNamespace(sampling_params=SimpleNamespace(extra_args=extra or None))


def test_a_request_carries_its_mixture() -> None:
    mixture = RequestMixture(((1, 1.0),), "cat", None)
    one = request(**{EXTRA_KEY: sent(mixture.to_wire()), "other": 1})
    assert RequestMixture.carried_by(one) == mixture
    assert RequestMixture.carried_by(one) is RequestMixture.carried_by(one)
    assert RequestMixture.carried_by(request()) is None
    assert RequestMixture.carried_by(request(other=1)) is None
    assert RequestMixture.carried_by(SimpleNamespace(sampling_params=None)) is None


def test_a_request_with_new_parameters_carries_the_new_mixture() -> None:
    one = request(**{EXTRA_KEY: RequestMixture(((1, 1.0),), "cat", None).to_wire()})
    RequestMixture.carried_by(one)
    newer = RequestMixture(((2, 1.0),), "cat", None)
    one.sampling_params = request(**{EXTRA_KEY: newer.to_wire()}).sampling_params
    assert RequestMixture.carried_by(one) == newer


def test_a_mixture_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        RequestMixture.carried_by(request(**{EXTRA_KEY: {}}))
