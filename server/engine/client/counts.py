"""What the engine counts of requests, and of its steps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """In the server now, and in the first worker when it was last asked.

    When nothing runs, all but ``worker_policies`` and what counts since the start are 0.

    Attributes:
        adapter_uses: uses of adapters by requests in the engine, one for each adapter of each.
        following_requests: requests whose weights follow their answer.
        open_traces: requests whose weighings are listened to.
        worker_policies: policies that the worker holds.
        gate_logs: requests whose weighings the worker holds.
        weighings: weighings of running requests since the start.
        failed_weighings: those that left the weights as they were.
        steps: steps of the engine since the start.
        mixed_steps: those in which some token had an adapter.
        step_mixtures: unlike mixtures in each step, summed; the base model alone is none.
    """

    adapter_uses: int
    following_requests: int
    open_traces: int
    worker_policies: int
    gate_logs: int
    weighings: int
    failed_weighings: int
    steps: int
    mixed_steps: int
    step_mixtures: int
