"""Scopes compared: the arithmetic against the reference, the command, going on after a break."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from adapters.training.data.templates import TEMPLATES
from benchmarks.routing_accuracy.texts import TRAINING
from benchmarks.scopes import __main__ as command
from benchmarks.scopes import variants as kinds
from benchmarks.scopes.__main__ import POLICIES
from benchmarks.scopes.items import FILES, Item, in_turn, read_items
from benchmarks.scopes.measure import measure, rows_of
from benchmarks.scopes.records import Record, Records
from benchmarks.scopes.setup import Parts, key_of
from benchmarks.scopes.statistics import MEAN, estimates
from benchmarks.scopes.steps import due, steps_of, weights_by_step
from router.encoders import make_encoder
from router.fit import fitted
from router.mixture import Member, Mixture
from router.policies.config import (
    DEFAULT_POLICIES,
    RoutingOverrides,
    default_policies,
    load_policies,
    overridden,
)
from tests.reference.merged import MergedModel
from tests.support.tiny_llama import TOPICS, make_adapter

POLICY = "tle"
ROWS = {
    "maths": {"question": "What is two plus three?", "answer": "Two plus three makes five."},
    "science": {"question": "What is ice?", "choices": ["water", "gas"], "answer": "A"},
    "code": {"instruction": "Write a sum.", "input": "", "output": "def add(a, b): return a + b"},
    "reading": {"context": "A dog ran home.", "question": "Who ran home?", "answer": "A dog."},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heldout")
    for task, file in FILES.items():
        second = {**ROWS[task], "question": "And what is this?", "instruction": "And a product."}
        for name in (file, *TRAINING[task]):
            (folder / name).write_text(f"{json.dumps(ROWS[task])}\n{json.dumps(second)}\n")
    return folder


@pytest.fixture(scope="module")
def parts(tiny_base, encoder_path, tmp_path_factory):
    folder, encoder = tmp_path_factory.mktemp("adapters"), make_encoder(str(encoder_path))
    for seed, (task, topic) in enumerate(zip(FILES, TOPICS.values(), strict=False)):
        make_adapter(tiny_base, folder / task, seed, lora_alpha=8 + 4 * seed)
        routing = fitted(encoder, (topic, task))
        (folder / task / "router.json").write_text(json.dumps(routing))
    return Parts(
        base_model=str(tiny_base),
        encoder=str(encoder_path),
        adapters=folder,
        names=tuple(FILES),
        policy_file=DEFAULT_POLICIES,
        policies=("auto", "tle"),
        dtype="float32",
        device="cpu",
    )


@pytest.fixture(scope="module")
def bench(parts):
    return parts.load()


@pytest.fixture(scope="module")
def item(data, bench):
    return read_items(data, "code", bench.tokenizer, 1, 512)[0]


def open_rows(data, task):
    """The lines of a task's training files."""
    return [line for name in TRAINING[task] for line in (data / name).read_text().splitlines()]


def test_items_end_in_the_gold_answer(item, bench):
    text = bench.tokenizer.decode(item.answer, skip_special_tokens=True)
    assert text == " def add(a, b): return a + b"
    assert item.answer[-1] == bench.tokenizer.eos_token_id
    assert item.prompt == TEMPLATES["code"].example(ROWS["code"]).prompt


def test_items_come_in_turn_from_the_tasks():
    few = [Item("maths", n, "", (1, 2), 1) for n in range(2)]
    one = [Item("code", 0, "", (1, 2), 1)]
    assert list(in_turn([few, one])) == [few[0], one[0], few[1]]


def test_weights_are_due_at_multiples_of_the_stride():
    assert [due(t, 3) for t in range(7)] == [0, 0, 0, 3, 3, 3, 6]
    assert steps_of([2, 3], 7) == [0, 2, 3, 4, 6]


def test_rows_take_the_weights_of_the_step_they_prepare():
    names = [Mixture.of([Member(f"m{n}", f"d{n}", 1.0)]) for n in range(5)]
    item = Item("code", 0, "", (7, 7, 7, 1, 2, 3, 4, 5), 3)
    steps = {POLICY: dict(enumerate(names))}
    every = rows_of(item, kinds.token(POLICY, 1), steps)
    assert every == [names[0]] * 3 + names[1:]
    second = rows_of(item, kinds.token(POLICY, 2), steps)
    assert second == [names[0]] * 4 + [names[2], names[2], names[4]]
    assert rows_of(item, kinds.prompt(POLICY), steps) == [names[0]] * 7


@pytest.mark.parametrize("combination", ["cat", "linear"])
def test_losses_and_distances_equal_the_references(parts, bench, item, combination):
    config = bench.router.policy(POLICY).model_copy(update={"combination": combination})
    bench.router.put_policy("other", config)
    stride, answer, prompt = 2, list(item.answer), list(item.ids[: item.prompt_tokens])
    asked = [kinds.prompt("other"), kinds.token("other", stride), kinds.recompute("other", stride)]
    records = {r.variant: r for r in measure(bench, item, {v: v.title for v in asked})}
    every = steps_of([stride], len(answer))
    steps = weights_by_step(bench.router, "other", item, bench.tokenizer, every)
    assert len(set(steps.values())) > len(every) // 2

    merged = MergedModel(
        parts.base_model, {name: parts.adapters / name for name in FILES}, combination
    )

    def rerun(first: bool) -> torch.Tensor:
        rows = []
        for step in range(len(answer)):
            merged.become(steps[0 if first else due(step, stride)].weights)
            rows.append(merged.next_logprobs(prompt + answer[:step]))
        return torch.stack(rows)

    p, fixed = rerun(first=False), rerun(first=True)
    picked = -p[range(len(answer)), answer].sum().item()
    record = records[asked[2].title]
    assert record.loss == pytest.approx(picked, rel=1e-4)
    assert records[asked[0].title].loss == pytest.approx(
        -fixed[range(len(answer)), answer].sum().item(), rel=1e-4
    )
    kl = (p.exp() * (p - fixed)).sum().item()
    assert record.distance["prompt"].kl == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert record.distance["prompt"].changed == int((p.argmax(1) != fixed.argmax(1)).sum())

    cache, rows = DynamicCache(), []
    for step in range(len(answer)):
        merged.become(steps[due(step, stride)].weights)
        rows.append(merged.next_logprobs([answer[step - 1]] if step else prompt, cache))
    q = torch.stack(rows)
    picked = -q[range(len(answer)), answer].sum().item()
    assert records[asked[1].title].loss == pytest.approx(picked, rel=1e-4)
    kl = (p.exp() * (p - q)).sum().item()
    assert record.distance["token"].kl == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert kl > 1e-4


def test_own_weight_is_of_the_tasks_adapter(bench, item):
    variant = kinds.prompt(POLICY)
    (record,) = measure(bench, item, {variant: "k"})
    mixture = bench.router.route(item.prompt, POLICY).mixture
    assert record.own == pytest.approx(mixture.weights["code"])
    assert record.leads == (record.tokens if mixture.members[0].name == "code" else 0)


def test_keys_change_with_what_the_figures_depend_on(parts, bench, item):
    identity = parts.identity(bench.router)
    keys = {
        key_of(identity, bench.router, item, kinds.prompt("auto")),
        key_of(identity, bench.router, item, kinds.prompt(POLICY)),
        key_of(identity, bench.router, item, kinds.token(POLICY, 2)),
        key_of({**identity, "dtype": "bfloat16"}, bench.router, item, kinds.prompt(POLICY)),
        key_of(identity, bench.router, replace(item, prompt_tokens=3), kinds.prompt(POLICY)),
    }
    assert len(keys) == 5


def test_a_line_that_broke_off_costs_that_item_alone(tmp_path):
    path = tmp_path / "deep" / "r.jsonl"
    first, second, third = (
        Record(key=key, task="code", number=n, variant="base", tokens=2, loss=1.5)
        for n, key in enumerate("abc")
    )
    Records(path).add([first, second])
    path.write_text(path.read_text()[:-9])
    again = Records(path)
    assert again.get("a") == first
    assert again.get("b") is None
    again.add([third])
    assert Records(path).get("c") == third


def test_intervals_pair_the_items_and_weigh_tasks_alike():
    tokens = np.array([10.0, 20.0, 30.0] * 20)
    noise = np.random.default_rng(0).uniform(1, 3, 60) * tokens
    one = estimates({"a": (noise, tokens)})["a"]
    assert one.low < one.mean < one.high
    assert one.mean == pytest.approx(noise.sum() / tokens.sum())
    less = estimates({"a": (noise - (noise - tokens), tokens)})["a"]
    assert (less.low, less.mean, less.high) == pytest.approx((1, 1, 1))
    both = estimates({"a": (tokens, tokens), "b": (3 * tokens[:3], tokens[:3])})
    assert both[MEAN].mean == pytest.approx(2)


def test_the_command_measures_once_and_writes_tables(tmp_path, parts, data, monkeypatch, capsys):
    given = ["--data", str(data), "--base-model", parts.base_model, "--encoder", parts.encoder]
    given += ["--policy-file", str(DEFAULT_POLICIES), "--policies", POLICY]
    given += ["--adapters", str(parts.adapters), "--strides", "1", "2"]
    given += ["--recompute-strides", "2", "--records", str(tmp_path / "r.jsonl")]
    given += ["--out", str(tmp_path / "out" / "scopes"), "--items", "2"]
    assert command.main([*given, "--recompute-items", "1"]) == 0
    told = json.loads((tmp_path / "out" / "scopes.json").read_text())
    assert told["items"] == dict.fromkeys(FILES, 2)
    assert told["few"] == dict.fromkeys(FILES, 1)
    losses = told["losses"]
    assert losses["own adapter (oracle)"]["code"] == losses["code"]["code"]
    assert losses["base"]["code"]["mean"] != losses["uniform"]["code"]["mean"]
    assert "tle, recompute, stride 2" in told["few_losses"]
    table = (tmp_path / "out" / "scopes.md").read_text()
    assert capsys.readouterr().out == table
    assert str(tmp_path) not in table

    with monkeypatch.context() as patch:
        patch.setattr(command, "measure", lambda *_: pytest.fail("measured again"))
        assert command.main([*given, "--recompute-items", "1"]) == 0
    assert command.main([*given, "--recompute-items", "2", "--tables-only"]) == 0
    assert json.loads((tmp_path / "out" / "scopes.json").read_text())["few"] == told["few"]
    some = ["--policies", POLICY, "nearest", "--recompute-policies", POLICY]
    assert command.main([*given, "--recompute-items", "1", *some]) == 0
    few = json.loads((tmp_path / "out" / "scopes.json").read_text())["few_losses"]
    assert "nearest, token, stride 2" in few
    assert [title for title in few if "recompute" in title] == ["tle, recompute, stride 2"]
    assert command.main([*given, "--recompute-items", "0", "--tasks", "code"]) == 0
    assert json.loads((tmp_path / "out" / "scopes.json").read_text())["few"] == {}


def test_one_centroid_is_the_mean_of_a_tasks_training_prompts(parts, data, bench):
    one = replace(parts, examples=data).load()
    for task in FILES:
        prompts = [TEMPLATES[task].example(json.loads(row)).prompt for row in open_rows(data, task)]
        mean = bench.router.encoder.encode(prompts).mean(axis=0)
        (row,) = one.router.index.snapshot.entries[task].rows
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)
    assert one.router.index.snapshot.known == bench.router.index.snapshot.known


def test_without_strides_nothing_follows_the_answer(tmp_path, parts, data):
    given = ["--data", str(data), "--base-model", parts.base_model, "--encoder", parts.encoder]
    given += ["--policy-file", str(DEFAULT_POLICIES), "--policies", POLICY, "--items", "1"]
    given += ["--adapters", str(parts.adapters), "--records", str(tmp_path / "r.jsonl")]
    given += ["--out", str(tmp_path / "one"), "--recompute-items", "0", "--one-centroid"]
    assert command.main([*given, "--strides"]) == 0
    losses = json.loads((tmp_path / "one.json").read_text())["losses"]
    assert [title for title in losses if title.startswith(POLICY)] == [f"{POLICY}, prompt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data", "nowhere"], "holds no gsm8k_dev.jsonl"),
        (["--adapters", "nowhere"], "holds no adapter 'maths'"),
        (["--strides", "0"], "must be at least 1"),
        (["--policies", "missing"], "missing"),
        (["--policies", "static"], "policy 'static' asks for the static encoder"),
        (["--tables-only", "--records", "none.jsonl"], "none.jsonl holds no item"),
    ],
)
def test_wrong_options_end_in_one_line_of_the_command(
    tmp_path, parts, data, capsys, change, message
):
    given = ["--data", str(data), "--base-model", parts.base_model, "--encoder", parts.encoder]
    given += ["--adapters", str(parts.adapters), "--out", str(tmp_path / "out")]
    given += ["--policies", "auto"]
    assert command.main([*given, *change]) == 1
    assert message in capsys.readouterr().err


def test_the_compared_policies_are_the_default_one_for_single_messages_and_by_its_encoder():
    compared, bundled = load_policies(POLICIES), default_policies()
    talks = RoutingOverrides(window="conversation", threshold=bundled["auto"].threshold)
    assert overridden(compared["auto"], talks).version == bundled["auto"].version
    static = overridden(compared["auto"], RoutingOverrides(encoder="static"))
    assert compared["static"].version == static.version
