"""What the engine client works with beside vLLM's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.engine.client.token_count import OnTokens
from server.engine.client.usage import Usage
from server.engine.client.worker_policies import WorkerPolicies
from server.engine.structured.compilations import Compilations
from server.engine.trace_channel import TraceReceiver


@dataclass(frozen=True, slots=True)
class ClientParts:
    """The parts that :meth:`server.engine.client.mixing_llm.MixingLLM.attach` takes, all at once.

    Attributes:
        adapter_ids: digest → vLLM's id, of the adapters in slots now.
        usage: which adapters running requests use.
        policies: the policies in the workers.
        traces: where the workers report weighings.
        compilations: where constraints of answers are tried before the engine hears of them.
        on_tokens: called with what made the tokens of each answer.
    """

    adapter_ids: Mapping[str, int]
    usage: Usage
    policies: WorkerPolicies
    traces: TraceReceiver
    compilations: Compilations
    on_tokens: OnTokens
