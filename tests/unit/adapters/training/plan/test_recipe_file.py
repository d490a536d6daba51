"""Recipes: what wins over what, and what is refused with which reason."""

import pytest

from adapters.training.errors import TrainingError
from adapters.training.methods import method_of
from adapters.training.plan.recipe_file import bundled, plan
from tests.support.training import methods_of

JOB = ("task=maths", "base_model=base", "data=[train.jsonl]")
PAIRS = ("task=preference", "base_model=base", "data=[train.jsonl]")
WHOLE = ("dtype=float32",)

TEXT = """
task: maths
base_model: base
data: [a.jsonl, b.jsonl]
rank: 32
learning_rate: 1.0e-3
methods:
  lora: {learning_rate: 1.0e-4}
  lori_d: {}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    return str(path)


def test_a_methods_keys_win_over_all_and_the_command_line_over_both(file):
    lora, lori_d = method_of("lora"), method_of("lori_d")
    assert plan(lora, file).recipe.learning_rate == 1e-4
    assert plan(lori_d, file).recipe.learning_rate == 1e-3
    set_by_hand = plan(lora, file, ["learning_rate=1e-5", "targets=[q_proj]"])
    assert set_by_hand.recipe.learning_rate == 1e-5
    assert set_by_hand.recipe.targets == ("q_proj",)
    assert (set_by_hand.recipe.rank, set_by_hand.job.data) == (32, ("a.jsonl", "b.jsonl"))


def test_a_recipe_for_other_methods_says_so(file):
    with pytest.raises(TrainingError, match="is for lora, lori_d, and not for full"):
        plan(method_of("full"), file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a: [", "not YAML"),
        (b"- a", "a mapping of keys"),
        (b"methods: {nothing: {}}", "there is no method 'nothing'"),
        (b"methods: [lora]", "methods: a mapping"),
        (b"rank: 8\nranc: 8", "did you mean 'rank'"),
    ],
)
def test_files_that_are_no_recipes_are_refused(tmp_path, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        plan(method_of("lora"), str(path))


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("lora", (*JOB, "steps=50", "epochs=2"), "steps and epochs both"),
        ("lora", (*JOB, "mask=m.pt"), "mask: only lori_s trains by it, so lora does not take it"),
        ("lora", (*JOB, "reuse_a=folder"), "A is trained as well"),
        ("lori_d", (*JOB, "reuse_a=one", "start_from=two"), "leave one out"),
        ("lori_d", (*JOB, "a_seed=1", "reuse_a=one"), "a_seed draws an A"),
        ("lori_d", (*JOB, "a_seed=1", "start_from=one"), "a_seed draws an A"),
        ("lora", (*JOB, "a_seed=1"), "drawn by seed"),
        ("full", (*JOB, *WHOLE, "a_seed=1"), "a_seed: only lori_d or lori_s trains by it"),
        ("lori_d", (*JOB, "maks=m.pt"), "a recipe has no key 'maks'"),
        ("lori_s", JOB, "the recipe has no 'mask', which is needed; --set mask=… gives it"),
        ("lori_s", (*JOB, "mask=m.pt", "weight_decay=0.1"), "weight_decay would change"),
        ("full", (*JOB, *WHOLE, "rank=8"), "full fine-tuning makes no adapter"),
        ("full", JOB, "use float32"),
        ("full", (*JOB, *WHOLE, "loss=soft_sft", "beta=0.1"), "has none"),
        ("lora", (*JOB, "beta=0.1"), "beta belongs to"),
        ("lora", (*JOB, "loss=soft_sft"), "needs a beta"),
        ("lora", (*JOB, "loss=dpo", "beta=0.1"), "need each other"),
        ("lora", PAIRS, "need each other"),
        ("lora", (*PAIRS, "loss=dpo", "beta=0.1", "reduction=example"), "no mean over tokens"),
        ("lora", (*JOB, "packing=true", "reduction=example"), "packing mixes"),
        ("lora", (*JOB, "batch_size=5", "micro_batch_size=2"), "no multiple"),
        ("lora", (*JOB, "steps=5", "warmup_steps=5"), "leave none"),
        ("lora", (*JOB, "max_prompt_tokens=256"), "no answer fits"),
        ("lora", (*JOB, "mixed_precision=bf16"), "has no use"),
        ("lora", (*JOB, "loss=soft_sft", "beta=0.1", "start_from=one"), "soft_sft compares"),
    ],
)
def test_contradictions_are_refused_with_the_reason(method, settings, message):
    with pytest.raises(TrainingError, match=message):
        plan(method_of(method), None, settings)


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_recipe_is_valid_for_each_of_its_methods(name):
    given = {"base_model": "base", "mask": "m.pt", "start_from": "folder"}
    methods = methods_of(name)
    assert methods
    for method in map(method_of, methods):
        wanted = {"base_model"} | ({"mask"} & method.keys.model_fields.keys())
        wanted |= {"start_from"} if "continual" in name else set()
        settings = [f"{key}={given[key]}" for key in sorted(wanted)]
        assert plan(method, name, settings).method is method


def test_keys_for_all_methods_bother_none_that_has_no_use_for_them():
    assert plan(method_of("full"), "lori/gsm8k_llama3_r_32").recipe.learning_rate == 1e-5
    with pytest.raises(TrainingError, match="makes no adapter"):
        plan(method_of("full"), "lori/gsm8k_llama3_r_32", ["rank=8"])


def test_a_recipe_without_a_base_model_takes_the_environments(monkeypatch):
    monkeypatch.setenv("LORALLOY_BASE_MODEL", "here")
    assert plan(method_of("lora"), None, ["task=maths", "data=[a]"]).job.base_model == "here"
    assert plan(method_of("lora"), None, JOB).job.base_model == "base"


# Re-read from the launch scripts of LoRI: learning rates of LoRI-D and LoRI-S, and lora_alpha.
PUBLISHED = {
    "codealpaca_llama3_r_32": (5e-5, 5e-4, 64, 64),
    "codealpaca_mistral_r_64": (1e-5, 1e-4, 128, 128),
    "gsm8k_llama3_r_64": (5e-5, 1e-3, 128, 128),
    "gsm8k_mistral_r_64": (1e-4, 5e-4, 32, 64),
    "nlu_mistral_r_32": (1e-5, 1e-4, 64, 64),
    "saferpaca_llama3_r_32": (5e-5, 5e-4, 64, 64),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_loris_recipes_have_the_published_figures(name):
    dense = plan(method_of("lori_d"), f"lori/{name}").recipe
    sparse = plan(method_of("lori_s"), f"lori/{name}", ["mask=m.pt"]).recipe
    found = (dense.learning_rate, sparse.learning_rate, dense.lora_alpha, sparse.lora_alpha)
    assert found == PUBLISHED[name]
    assert (dense.batch_size, dense.schedule, dense.weight_decay) == (32, "constant", 0)
