import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from router.centroids.centroid import centroid
from router.centroids.index import CentroidIndex
from router.distill.__main__ import main
from router.distill.agreement import measured, table
from router.distill.first_vectors import directions, rarities, token_strings
from router.distill.teacher import embeddings
from router.distill.texts import Sample, Topic, drawn, parted, read_topics, samples_of
from router.distill.training import Lesson, Recipe, trained
from router.encoders.static import StaticEncoder
from router.errors import EncoderFailed, NoExamples

SUMS = [
    f"Question: {name} has {count} apples and buys {more} more. How many are left?"
    for name in ("Ann", "Bob", "Eve", "Joe")
    for count, more in ((3, 4), (10, 2), (7, 7))
]
CODE = [
    f"Write a {language} function that {task} a list of numbers."
    for language in ("Python", "Java", "Rust", "C")
    for task in ("sorts", "reverses", "sums up")
]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SUMS + CODE, trainer)
    return tokenizer


@pytest.fixture
def files(tmp_path, tokenizer):
    """Files of texts, with a base model's folder beside them."""
    base = tmp_path / "tiny-base"
    base.mkdir()
    tokenizer.save(str(base / "tokenizer.json"))
    for name, texts in (("maths", SUMS), ("code", CODE)):
        lines = (json.dumps({"text": text}) for text in texts)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def adapter(folder, name, encoder, texts):
    at = folder / "adapters" / name
    at.mkdir(parents=True)
    vector = centroid(encoder, texts).tolist()
    (at / "router.json").write_text(json.dumps({"encoder": encoder.name, "centroid": vector}))
    return at


def test_the_command_makes_an_encoder_that_routes_as_its_teacher(
    encoder, encoder_path, files, tokenizer, capsys
):
    out = files / "static-tiny"
    given = {
        "--base-model": [files / "tiny-base"],
        "--encoder": [encoder_path],
        "--texts": [files / "maths.jsonl", files / "code.jsonl"],
        "--centroids": [
            adapter(files, "maths", encoder, SUMS),
            adapter(files, "code", encoder, CODE),
        ],
        "--out": [out],
        "--dimension": [24],
        "--epochs": [60],
    }
    words = [str(word) for option, values in given.items() for word in (option, *values)]
    status = main([*words, "--quiet"])
    assert status == 0
    assert "| all |" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "agreement.json",
        "config.json",
        "vectors.safetensors",
    ]
    config = json.loads((out / "config.json").read_text())
    assert (config["base_model"], config["teacher"]) == ("tiny-base", encoder.name)
    figures = {
        row["group"]: row for row in json.loads((out / "agreement.json").read_text())["agreement"]
    }
    assert figures["maths"]["samples"] + figures["code"]["samples"] == figures["all"]["samples"]
    assert figures["whole texts"]["top_1"] == 1
    written = (out / "vectors.safetensors").read_bytes()
    again = {option: values for option, values in given.items() if option != "--texts"}
    again["--held-out"] = [files / "maths.jsonl", files / "code.jsonl"]
    words = [str(word) for option, values in again.items() for word in (option, *values)]
    assert main([*words, "--quiet"]) == 0
    figures = json.loads((out / "agreement.json").read_text())["agreement"]
    assert {row["group"] for row in figures} >= {"maths", "code", "all"}
    assert (out / "vectors.safetensors").read_bytes() == written
    student = StaticEncoder(str(out), tokenizer=tokenizer)
    new = [
        "Question: Sue has 3 apples and buys 9 more. How many are left?",
        "Write a Java function that sorts and reverses a list of numbers.",
    ]
    index = CentroidIndex()
    for name, texts in (("maths", SUMS), ("code", CODE)):
        index.put(name, "digest", centroid(encoder, texts))
    ours = np.array([index.scores(row).cosines for row in student.encode(new)])
    assert ours.argmax(axis=1).tolist() == [1, 0]


def test_the_commands_errors_take_one_line_and_write_nothing(encoder_path, files, capsys):
    good = {
        "--base-model": str(files / "tiny-base"),
        "--encoder": str(encoder_path),
        "--texts": str(files / "maths.jsonl"),
        "--out": str(files / "out"),
    }
    (files / "other").mkdir()
    (files / "other" / "router.json").write_text('{"encoder": "other", "centroid": [1]}')
    for change in (
        {"--base-model": str(files / "none")},
        {"--encoder": str(files / "none")},
        {"--texts": str(files / "none.txt")},
        {"--centroids": str(files / "other")},
        {"--texts": None, "--held-out": str(files / "maths.jsonl")},
    ):
        pairs = [pair for pair in (good | change).items() if pair[1] is not None]
        assert main([part for pair in pairs for part in pair]) == 1
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
    assert not (files / "out").exists()


def lesson_of(encoder, tokenizer):
    topics = [Topic("maths", tuple(SUMS)), Topic("code", tuple(CODE))]
    samples = samples_of(topics, tokenizer, np.random.default_rng(0), 2)
    rows = encoder.encode([sample.text for sample in samples])
    strings = token_strings(tokenizer, tokenizer.get_vocab_size())
    tokens = encoder.encode(strings) * np.array([bool(text) for text in strings])[:, None]
    found = directions(rows, tokens, 16)
    weights = rarities(samples, len(strings))
    return Lesson(samples, rows, tokens.astype(np.float32), weights, found)


def test_training_is_seeded_brings_the_student_nearer_and_leaves_special_tokens_silent(
    encoder, tokenizer
):
    lesson = lesson_of(encoder, tokenizer)

    def bars(items, title):
        return iter(items)

    def likeness(rows):
        means = np.array([rows[list(sample.ids)].mean(axis=0) for sample in lesson.samples])
        inside = means[:, :-1] @ lesson.directions
        return np.mean(np.sum(inside * lesson.embeddings, 1) / np.linalg.norm(inside, axis=1))

    first = trained(lesson, Recipe(epochs=0), bars)
    once, again = (trained(lesson, Recipe(epochs=20, batch_size=16), bars) for _ in range(2))
    assert once.shape == (tokenizer.get_vocab_size(), 17)
    assert (once == again).all()
    assert (trained(lesson, Recipe(epochs=20, batch_size=16, seed=1), bars) != once).any()
    assert likeness(once) > likeness(first) + 0.05
    assert not once[tokenizer.token_to_id("<|end|>")].any()


def test_samples_are_wholes_prefixes_and_spans(tokenizer):
    text = " ".join(SUMS * 2)
    samples = samples_of([Topic("maths", (text, "x"))], tokenizer, np.random.default_rng(0), 3)
    assert [sample.kind for sample in samples] == ["whole", "prefix", "prefix", "span", "whole"]
    for sample in samples[:4]:
        assert sample.text in text
        assert tokenizer.decode(list(sample.ids)) == sample.text
    assert text.startswith(samples[1].text)
    assert len(samples[0].ids) == 256


def test_a_line_may_hold_any_character(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"text": "one\u2028two"}\n"three"\n', encoding="utf-8")
    assert read_topics([path]) == [Topic("odd", ("one\u2028two", "three"))]
    (tmp_path / "plain.txt").write_text("one\n\ntwo\n")
    assert read_topics([tmp_path / "plain.txt"])[0].texts == ("one", "two")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"\n \n", r"a\.txt holds no text"),
        ("a.txt", b"\xff", r"a\.txt is not UTF-8"),
        ("a.jsonl", b"{", r"each line of a\.jsonl must be"),
        ("a.jsonl", b"7", r"each line of a\.jsonl must be"),
        ("a.jsonl", b'{"prompt": 1}', r"each line of a\.jsonl must be"),
    ],
)
def test_files_without_usable_texts_are_told(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NoExamples, match=words):
        read_topics([tmp_path / name])


def test_topics_are_told_apart_by_name_and_parted(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "a.jsonl").write_text('"two"')
    with pytest.raises(NoExamples, match="two files of texts are called 'a'"):
        read_topics([tmp_path / "a.txt", tmp_path / "a.jsonl"])
    kept, held = parted(Topic("a", tuple("abcdefghij")), 0.2)
    assert (kept.texts, held.texts) == (tuple("abcdefgh"), tuple("ij"))
    with pytest.raises(NoExamples, match="'a' needs two texts"):
        parted(Topic("a", ("one",)), 0.1)
    few = drawn(Topic("a", tuple("abcdefghij")), 4, np.random.default_rng(0))
    assert len(set(few.texts)) == 4


def test_kept_embeddings_are_read_the_next_time(encoder, tmp_path):
    texts = ["one", "two", "one", "three three"]
    first = embeddings(encoder, texts, title="texts", keep=tmp_path)
    np.testing.assert_allclose(first, encoder.encode(texts), atol=1e-6)

    def fail(texts):
        raise EncoderFailed("asked again")

    silent = SimpleNamespace(name=encoder.name, dimension=384, encode=fail)
    assert (embeddings(silent, texts, title="texts", keep=tmp_path) == first).all()
    with pytest.raises(EncoderFailed, match="asked again"):
        embeddings(silent, [*texts, "four"], title="texts", keep=tmp_path)


def test_fast_embeddings_are_nearly_the_same(encoder):
    plain = embeddings(encoder, ["a new text to embed"], title="")
    fast = embeddings(encoder, ["a new  text to embed"], title="", fast=True)
    assert float(plain[0] @ fast[0]) == pytest.approx(1, abs=2e-3)
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16


def test_directions_are_orthonormal_and_the_strongest_come_first():
    rng = np.random.default_rng(0)
    texts = (rng.standard_normal((200, 6)) * [5, 4, 3, 1, 1, 1]).astype(np.float32)
    found = directions(texts, texts[:50], 3)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-5)
    spread = np.square(texts @ found.T).sum(axis=0)
    assert (np.diff(spread) < 0).all()


def test_frequent_tokens_weigh_less():
    samples = [Sample("", (1, 1, 1, 2), 0, "whole")]
    weights = rarities(samples, 4)
    assert weights[1] < weights[2] < weights[0] == weights[3] == 1


class SameSpace:
    """A student that says what the teacher says, or something else for chosen samples."""

    def __init__(self, rows):
        self.rows = rows

    def begin_ids(self, ids):
        return ids[0]

    def embedding(self, state):
        return self.rows[state]


def test_agreement_counts_what_differs():
    rows = np.eye(3)[[0, 1, 2, 0]].astype(np.float32)
    samples = [
        Sample("", (0,) * 20, 0, "whole"),
        Sample("", (1,) * 20, 0, "prefix"),
        Sample("", (2,) * 20, 1, "whole"),
        Sample("", (3,) * 5, 1, "span"),
    ]
    centroids = {"b": np.array([1.0, 0, 0]), "a": np.array([0, 1.0, 0])}
    topics = [Topic("one", ()), Topic("two", ())]
    same = measured(SameSpace(rows), samples, rows, centroids, topics)
    assert {row.group for row in same} == {
        "one", "two", "whole texts", "prefixes", "spans", "under 16 tokens", "all",
    }  # fmt: skip
    assert all(row.top_1 == 1 and not any(row.weight_distance.values()) for row in same)
    other = rows.copy()
    other[3] = [0, 1, 0]
    changed = {
        row.group: row for row in measured(SameSpace(other), samples, rows, centroids, topics)
    }
    assert (changed["one"].top_1, changed["two"].top_1, changed["spans"].top_1) == (1, 0.5, 0)
    assert changed["spans"].weight_distance["auto"] == pytest.approx(2, abs=1e-3)
    assert changed["spans"].score_error == 1
    assert changed["all"].weight_distance["auto"] == pytest.approx(0.5, abs=1e-3)
    assert table(list(changed.values())).count("\n") == 9
