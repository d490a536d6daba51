"""Bad data ends in one line that says where; the loss never counts the prompt."""

import pytest
from transformers import AutoTokenizer

from adapters.training.data.examples import IGNORED, encode, encode_all, read_examples
from adapters.training.data.templates import Example
from adapters.training.errors import TrainingError

GOOD = '{"question": "a", "answer": "b"}'


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (f"{GOOD}\n\n{{}}".encode(), "line 3: field 'question' is missing"),
        (f'{GOOD}\n{{"question": "a"}}'.encode(), "line 2: field 'answer' is missing"),
        (b'{"question": 1, "answer": "b"}', "line 1: field 'question' must be a string"),
        (b'{"question": "a", "answer": " "}', "line 1: field 'answer' is blank"),
        (b"[1]", "line 1: a JSON object is needed, not list"),
        (f"{GOOD}\n{GOOD[:-1]}".encode(), "line 2: not JSON"),
        (b'{"question": "\xff", "answer": "b"}', "is not UTF-8 text"),
    ],
)
def test_bad_data_names_the_line(tmp_path, content, message):
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=message) as caught:
        read_examples(path, "maths")
    assert "\n" not in str(caught.value)


def test_choices_must_be_strings(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a", "choices": [1], "answer": "A"}')
    with pytest.raises(TrainingError, match="'choices' must be a list of strings"):
        read_examples(path, "science")


def test_missing_file_and_unknown_task_are_told(tmp_path):
    with pytest.raises(TrainingError, match="No such file"):
        read_examples(tmp_path / "none.jsonl", "maths")
    with pytest.raises(TrainingError, match="known are maths"):
        read_examples(tmp_path / "none.jsonl", "poetry")


def test_line_separators_inside_a_string_do_not_end_the_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a\u2028b", "answer": "c"}\n', encoding="utf-8")
    assert len(read_examples(path, "maths")) == 1


def test_labels_are_the_completion_and_the_end_of_text(tokenizer):
    example = Example("Question: two\n\nAnswer:", " two and two")
    encoded = encode(example, tokenizer)
    learned = [token for token in encoded.labels if token != IGNORED]
    assert tokenizer.decode(learned) == " two and two" + tokenizer.eos_token
    ignored = encoded.input_ids[: encoded.labels.count(IGNORED)]
    assert tokenizer.decode(ignored) == example.prompt
    whole = tokenizer(example.prompt + example.completion)["input_ids"]
    assert list(encoded.input_ids[:-1]) == whole


def test_examples_that_do_not_fit_are_left_out_whole(tokenizer):
    short, long = Example("a", " b"), Example("a", " b" * 100)
    assert encode_all([short, long], tokenizer, 20) == [encode(short, tokenizer)]
    with pytest.raises(TrainingError, match="no example fits into 2 tokens"):
        encode_all([long], tokenizer, 2)
