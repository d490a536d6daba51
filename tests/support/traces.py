"""A store of traces, its clock, and what goes into it."""

from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep

MATHS, CODE = {"maths": 0.75, "code": 0.25}, {"code": 1.0}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def head(request_id: str = "r", stride: int = 2, choices: int = 1) -> TraceHead:
    return TraceHead(request_id, "auto", "1a2b", "token", stride, "cat", ("code", "maths"), choices)


def begin(store: TraceStore, request_id: str = "r", tenant: str = "t", **options):
    prompts = options.pop("prompts", 1)
    return store.begin(tenant, head(request_id, **options), [TraceStep(0, MATHS)] * prompts)


def tokens_of(store: TraceStore, request_id: str = "r", choice: int = 0) -> list[int]:
    return [step.token for step in store.get("t", request_id).choices[choice].steps]
