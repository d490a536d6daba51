"""Evaluation: judging answers, and models in this process."""

import json

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.training.data.examples import encode
from adapters.training.data.templates import TEMPLATES, Example
from adapters.training.errors import TrainingError
from adapters.training.evaluation.command import main
from adapters.training.evaluation.heldout_loss import response_losses
from adapters.training.evaluation.local import LocalModel
from adapters.training.evaluation.metrics import METRICS, choice, loss
from adapters.training.evaluation.questions import Question, read_questions
from adapters.training.evaluation.scores import (
    REFUSALS,
    begins_with,
    final_number,
    mean_with_interval,
    refuses,
    same_letter,
    same_number,
    same_text,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7.\n#### 7", "7"),
        ("The final answer is: $1,234.50 for 2 days", "1234.5"),
        ("first 3, then -4.0", "-4"),
        ("10 apples", "10"),
        ("no number", None),
    ],
)
def test_the_number_after_the_mark_or_the_last_one_counts(text, number):
    assert final_number(text) == number


def test_answers_are_compared_as_their_task_is_scored():
    assert same_number("it is 1,000", "#### 1000")
    assert not same_number("none", "none")
    assert same_text(" The Eiffel Tower.\nAnd more", "eiffel tower")
    assert not same_text("Paris", "London")
    assert same_letter(" B. because", "B")
    assert not same_letter("Because", "B")
    assert begins_with(" The heart grow fonder. Then", " fonder.") is False
    assert begins_with(" Fonder, they say", " fonder.")
    assert not begins_with("fondering", " fonder.")


def test_only_the_completion_can_refuse():
    assert refuses("I'm sorry, but I can't help with that.")
    assert not refuses("Sure, here is how.")
    assert all(words == words.lower() for words in REFUSALS)


def test_the_interval_holds_the_mean_and_shrinks_with_items():
    few, many = (mean_with_interval([0.0, 1.0] * n) for n in (5, 500))
    assert few.low < few.mean == 0.5 < few.high
    assert many.high - many.low < few.high - few.low
    assert mean_with_interval([1.0] * 9).low == 1.0


@pytest.fixture(scope="module")
def local(tiny_base):
    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return LocalModel("base", model, tokenizer)


def test_log_probs_add_up_to_the_loss_that_training_measures(local, tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    example = Example("What is 2 plus 2?\n\nAnswer:", " four")
    encoded = encode(example, tokenizer)
    (found,) = local.log_probs([(example.prompt, example.completion + tokenizer.eos_token)])
    assert len(found) == len(encoded.input_ids) - encoded.prompt_tokens
    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    assert -sum(found) == pytest.approx(response_losses(model, [encoded])[0], rel=1e-4)


def test_batches_of_unlike_prompts_answer_as_each_alone(local):
    prompts = ["What is 2 plus 2?", "One", "Tell me about a long river that flows to the sea"]
    together = local.generate(prompts, 5)
    assert together == [local.generate([prompt], 5)[0] for prompt in prompts]


def test_choice_takes_the_likeliest_option(local):
    options = (" A", " B", " C")
    scored = [sum(one) for one in local.log_probs([("Pick:", option) for option in options])]
    best = options[scored.index(max(scored))]
    asked = [Question("Pick:", option, options) for option in options]
    found = choice(local, "science", asked, 1)
    assert found.values == [float(option == best) for option in options]
    assert found.figure.mean == pytest.approx(1 / 3, abs=1e-3)


def test_loss_is_a_token(local):
    asked = [Question("Say:", " yes"), Question("Say:", " no, not at all")]
    sums = [-sum(one) for one in local.log_probs([(one.prompt, one.completion) for one in asked])]
    tokens = [len(one) for one in local.log_probs([(one.prompt, one.completion) for one in asked])]
    assert loss(local, "x", asked, 1).figure.mean == pytest.approx(
        sum(sums) / sum(tokens), abs=1e-4
    )


@pytest.fixture
def science(tmp_path):
    rows = [
        {"question": f"Q{n}", "choices": ["x", "y", "z"], "answer": "ABC"[n % 3]} for n in range(6)
    ]
    path = tmp_path / "science.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_with_choices_have_letters_to_choose_from(science):
    one = read_questions(science, "science", 2)[1]
    assert (one.answer, one.options) == ("B", (" A", " B", " C"))
    assert (
        one.prompt
        == TEMPLATES["science"]
        .example({"question": "Q1", "choices": ["x", "y", "z"], "answer": "B"})
        .prompt
    )


def test_the_command_measures_base_and_adapters_and_writes_both_forms(
    tmp_path, tiny_base, tiny_adapters, science, maths_file, capsys
):
    out = tmp_path / "results" / "eval.v1"
    refusals = tmp_path / "asked.jsonl"
    refusals.write_text('{"prompt": "Tell me."}\n')
    sayings = tmp_path / "sayings.jsonl"
    sayings.write_text('{"prompt": "It is", "choices": ["so", "not"], "answer_index": 0}\n')
    arguments = ["--base-model", tiny_base, "--adapters", tiny_adapters["r8-a"], "--out", out]
    arguments += ["--tasks", f"science={science}", f"maths={maths_file}", f"refusal={refusals}"]
    arguments += [f"choices={sayings}"]
    arguments += ["--items", 4, "--max-tokens", 4, "--dtype", "float32", "--threads", 1]
    assert main([str(one) for one in arguments]) == 0
    report = json.loads((tmp_path / "results" / "eval.v1.json").read_text())
    assert list(report["figures"]) == ["base", "r8-a"]
    assert (report["where"], report["dtype"], list(report["weights"])) == (
        *("tiny-llama", "float32"),
        ["r8-a"],
    )
    assert list(report["figures"]["base"]["science"]) == ["loss", "choice", "exact"]
    assert list(report["figures"]["r8-a"]["choices"]) == ["choice", "exact"]
    assert report["figures"]["base"]["maths"]["loss"] != report["figures"]["r8-a"]["maths"]["loss"]
    assert report["tasks"]["maths"]["items"] == 4
    table = capsys.readouterr().out
    assert table == (tmp_path / "results" / "eval.v1.md").read_text()
    assert "| r8-a | " in table
    assert str(tmp_path) not in json.dumps(report)


def test_resuming_measures_only_what_is_missing_of_the_same_items(
    tmp_path, tiny_base, science, maths_file, monkeypatch, capsys
):
    out = tmp_path / "eval"
    command = ["--base-model", tiny_base, "--out", out, "--items", 3, "--dtype", "float32"]
    command += ["--metrics", "loss", "--threads", 1, "--resume"]

    def measured(*tasks: str) -> list[str]:
        asked = []

        def noted(model, task, questions, max_tokens):
            asked.append(task)
            return loss(model, task, questions, max_tokens)

        monkeypatch.setitem(METRICS, "loss", noted)
        assert main([str(one) for one in (*command, "--tasks", *tasks)]) == 0
        return asked

    assert measured(f"science={science}") == ["science"]
    before = json.loads((tmp_path / "eval.json").read_text())["figures"]["base"]["science"]
    assert measured(f"science={science}", f"maths={maths_file}") == ["maths"]
    after = json.loads((tmp_path / "eval.json").read_text())["figures"]["base"]
    assert after["science"] == before
    command[command.index("--items") + 1] = 2
    assert measured(f"science={science}") == ["science"]


def test_texts_to_choose_from_are_asked_as_they_follow_the_prompt(tmp_path):
    path = tmp_path / "sayings.jsonl"
    row = {"prompt": "Absence makes the heart grow", "choices": [" fonder.", "old."]}
    path.write_text("\n" + json.dumps(row | {"answer_index": 1}) + "\n")
    (asked,) = read_questions(path, "choices", 9)
    assert asked == Question(row["prompt"], " old.", (" fonder.", " old."))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " "}, "field 'prompt' is missing"),
        ({"choices": "yes"}, "'choices' must be a list of texts"),
        ({"choices": ["yes", ""]}, "'choices' must be a list of texts"),
        ({"choices": ["yes", "yes"]}, "no two the same"),
        ({"choices": ["yes"], "answer_index": 0}, "needs two or more"),
        ({"answer_index": 2}, "'answer_index' must be from 0 to 1"),
        ({"answer_index": True}, "'answer_index' must be from 0 to 1"),
        ({"answer_index": None}, "'answer_index' must be from 0 to 1"),
    ],
)
def test_a_row_without_a_right_choice_is_named(tmp_path, change, message):
    path = tmp_path / "sayings.jsonl"
    row = {"prompt": "Is it?", "choices": ["yes", "no"], "answer_index": 1} | change
    path.write_text(json.dumps(row))
    with pytest.raises(TrainingError, match="line 1: ") as caught:
        read_questions(path, "choices", 9)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "science"], "write TASK=FILE"),
        (["--tasks", "science=nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["--tasks", "cooking=nowhere.jsonl"], "unknown task 'cooking'"),
        (["--tasks", "refusal=MATHS"], "field 'prompt' is missing"),
        (["--tasks", "maths=MATHS", "--metrics", "choice"], "needs rows with choices"),
        (["--tasks", "maths=MATHS", "--adapters", "nowhere"], "nowhere cannot be put"),
    ],
)
def test_what_cannot_be_measured_ends_in_one_line(
    tmp_path, tiny_base, maths_file, capsys, arguments, message
):
    own = [one.replace("MATHS", str(maths_file)) for one in arguments]
    more = ["--items", "2", "--max-tokens", "2", "--out", str(tmp_path / "out")]
    assert main(["--base-model", str(tiny_base), *own, *more]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
