"""The reference against PEFT's own merging and generate(), and against the gates' arithmetic."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM

from server.engine.bank.gates import bank_update
from tests.reference.decoding import generate
from tests.reference.merged import MergedModel
from tests.reference.peft_mixture import Reference

NAMES = ("r8-a", "r8-b", "r8-c", "r8-d")
FIXED = {"r8-a": 0.4, "r8-b": 0.3, "r8-c": 0.2, "r8-d": 0.1}
PROMPT = "def make_adapter(base: Path)"
NEW = 12


@pytest.fixture(scope="module")
def adapters(tiny_adapters: dict[str, Path]) -> dict[str, Path]:
    return {name: tiny_adapters[name] for name in NAMES}


@pytest.fixture(scope="module")
def merged(tiny_base, adapters) -> MergedModel:
    return MergedModel(tiny_base, adapters)


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def prompt(tokenizer) -> list[int]:
    return tokenizer(PROMPT)["input_ids"]


def weigh(answer: Sequence[int]) -> dict[str, float]:
    """Weights that turn with every token of the answer."""
    counts = Counter(token % len(NAMES) for token in answer)
    parts = [1 + 3 * counts[place] for place in range(len(NAMES))]
    return {name: round(part / sum(parts), 4) for name, part in zip(NAMES, parts, strict=True)}


@pytest.mark.parametrize("scope", ["token", "recompute"])
def test_weights_that_stay_give_what_a_fixed_merge_generates(
    tiny_base, adapters, merged, tokenizer, prompt, scope
):
    model = PeftModel.from_pretrained(
        LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32),
        adapters[NAMES[0]],
        adapter_name="a0",
    )
    short = {name: f"a{place}" for place, name in enumerate(NAMES)}
    for name in NAMES[1:]:
        model.load_adapter(adapters[name], adapter_name=short[name])
    model.add_weighted_adapter(
        list(short.values()), [weigh([])[name] for name in NAMES], "mixed", combination_type="cat"
    )
    model.set_adapter("mixed")
    with torch.no_grad():
        whole = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=NEW,
            do_sample=False,
        )[0]
    got = generate(merged, tokenizer, weigh, prompt, max_new_tokens=NEW, stride=10**6, scope=scope)
    assert got.tokens == whole[len(prompt) :].tolist()
    assert got.weights == [weigh([])] * len(got.tokens)


@pytest.mark.parametrize("combination", ["cat", "linear", "linear_peft04"])
def test_every_combination_equals_pefts(tiny_base, adapters, prompt, combination):
    merged = MergedModel(tiny_base, adapters, combination)
    merged.become(FIXED)
    wanted = Reference(tiny_base, adapters).logprobs(prompt, FIXED, combination)[-1]
    assert (merged.next_logprobs(prompt) - wanted).abs().max() < 1e-4
    merged.become({})
    base = Reference(tiny_base, adapters).logprobs(prompt, {})[-1]
    assert (base - wanted).abs().max() > 1e-2
    assert torch.equal(merged.next_logprobs(prompt), base)


def test_recompute_runs_every_row_under_the_steps_weights(
    tiny_base, adapters, merged, tokenizer, prompt
):
    got = generate(merged, tokenizer, weigh, prompt, max_new_tokens=NEW, scope="recompute")
    assert len({tuple(weights.values()) for weights in got.weights}) > NEW // 2
    gated = Gated(tiny_base, adapters)
    for step, weights in enumerate(got.weights):
        assert weights == weigh(got.tokens[:step])
        ids = [*prompt, *got.tokens[:step]]
        row = gated.logprobs(ids, [weights] * len(ids))[-1]
        assert (row - got.logprobs[step]).abs().max() < 1e-4
        assert got.tokens[step] == int(row.argmax())


@pytest.mark.parametrize("stride", [1, 3])
def test_token_scope_runs_each_row_under_its_own_steps_weights(
    tiny_base, adapters, merged, tokenizer, prompt, stride
):
    got = generate(
        merged, tokenizer, weigh, prompt, max_new_tokens=NEW, stride=stride, scope="token"
    )
    changed = [t for t in range(1, NEW) if got.weights[t] != got.weights[t - 1]]
    assert changed == [t for t in range(1, NEW) if t % stride == 0]
    rows = [got.weights[0]] * len(prompt) + got.weights[1:]
    ids = [*prompt, *got.tokens[:-1]]
    wanted = Gated(tiny_base, adapters).logprobs(ids, rows)[len(prompt) - 1 :]
    assert (wanted - got.logprobs).abs().max() < 1e-4
    other = generate(
        merged, tokenizer, weigh, prompt, max_new_tokens=NEW, stride=stride, scope="recompute"
    )
    assert (other.logprobs[stride:] - got.logprobs[stride:]).abs().max() > 1e-3


def test_an_end_of_text_ends_the_answer_and_the_budget_counts_new_tokens(
    tiny_base, merged, tokenizer, prompt
):
    free = generate(merged, tokenizer, weigh, prompt, max_new_tokens=NEW)
    assert len(free.tokens) == NEW
    stop = free.tokens[4]
    stopping = AutoTokenizer.from_pretrained(
        tiny_base, eos_token=tokenizer.convert_ids_to_tokens(stop)
    )
    assert stopping.eos_token_id == stop
    ended = generate(merged, stopping, weigh, prompt, max_new_tokens=NEW)
    assert ended.tokens == free.tokens[: free.tokens.index(stop) + 1]
    on = generate(merged, stopping, weigh, prompt, max_new_tokens=NEW, ignore_eos=True)
    assert len(on.tokens) == NEW


class Gated:
    """The gates' arithmetic on every linear of the model, each row under weights of its own."""

    def __init__(self, base: Path, adapters: dict[str, Path]) -> None:
        self._adapters = adapters
        self._model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        self._gates: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        for path, (bank_a, bank_b) in self._banks(self._model).items():

            def add(_module, inputs, output, bank_a=bank_a, bank_b=bank_b):
                return output + bank_update(inputs[0][0], bank_a, bank_b, self._gates)

            self._model.get_submodule(path).register_forward_hook(add)

    def logprobs(self, ids: list[int], rows: list[dict[str, float]]) -> torch.Tensor:
        inner = torch.tensor([[weights.get(name, 0.0) for name in NAMES] for weights in rows])
        self._gates = (inner, torch.ones_like(inner), torch.zeros(len(rows), dtype=torch.bool))
        with torch.no_grad():
            return torch.log_softmax(self._model(torch.tensor([ids])).logits[0].double(), dim=-1)

    def _banks(self, model: LlamaForCausalLM) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for name in NAMES:
            adapted = PeftModel.from_pretrained(model, self._adapters[name])
            for path, module in adapted.get_base_model().named_modules():
                if hasattr(module, "lora_A"):
                    scaled = module.lora_B["default"].weight.data.T * module.scaling["default"]
                    parts.setdefault(path, []).append(
                        (module.lora_A["default"].weight.data, scaled)
                    )
            adapted.unload()
        return {
            path: (torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs]))
            for path, pairs in parts.items()
        }
