import json

import numpy as np
import pytest

from router.centroids.centroid import centroid, centroid_of
from router.errors import InvalidCentroid, NoExamples
from router.fit import fitted, main, read_examples, read_fitted

LINES = ["What is 2 + 2?", "How many apples are left?", "Add 3 to 4."]


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.txt"
    path.write_text("\n\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_the_command_writes_a_router_json_that_the_router_takes(
    encoder, encoder_path, examples, tmp_path, capsys
):
    out = tmp_path / "router.json"
    arguments = ["--examples", str(examples), "--out", str(out), "--encoder", str(encoder_path)]
    assert main([*arguments, "--description", "Sums.", "--keep", "2"]) == 0
    assert "1 centroid of 3 texts by all-MiniLM-L6-v2" in capsys.readouterr().out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert (content["encoder"], content["dimension"], content["count"]) == (encoder.name, 384, 3)
    assert (content["examples"], content["description"]) == (LINES[:2], "Sums.")
    data = read_fitted(out)
    np.testing.assert_allclose(centroid_of(encoder, data), [centroid(encoder, LINES)], atol=1e-5)


def test_as_many_centroids_are_written_as_were_asked_for(encoder_path, examples, tmp_path, capsys):
    out = tmp_path / "router.json"
    arguments = ["--examples", str(examples), "--out", str(out), "--encoder", str(encoder_path)]
    assert main([*arguments, "--centroids", "3"]) == 0
    assert "3 centroids of 3 texts" in capsys.readouterr().out
    assert len(read_fitted(out).centroids) == 3
    for number in ("0", "65"):
        with pytest.raises(SystemExit):
            main([*arguments, "--centroids", number])


def test_long_examples_are_cut_where_they_are_shown(encoder):
    content = fitted(encoder, ["word " * 1000])
    assert len(content["examples"][0]) == 500


def test_jsonl_holds_strings_or_objects_with_a_text(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text('"one\\ntwo"\n\n{"text": "three", "other": 1}\n', encoding="utf-8")
    assert read_examples(path) == ("one\ntwo", "three")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "a.txt holds no example text"),
        ("a.txt", b"\n \n", "a.txt holds no example text"),
        ("a.jsonl", b'""\n', "a.jsonl holds no example text"),
        ("a.txt", b"\xff\xfe", "a.txt is not UTF-8 text"),
        ("a.jsonl", b'"good"\n{', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b"7", "a.jsonl, line 1 must be a JSON string"),
        ("a.jsonl", b'{"prompt": "x"}', "line 1 must be a JSON string, or an object with a 'text'"),
    ],
)
def test_files_without_usable_examples_are_told(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NoExamples, match=words):
        read_examples(path)


def test_the_commands_errors_take_one_line_and_write_nothing(
    encoder_path, examples, tmp_path, capsys
):
    out = tmp_path / "router.json"
    encoder = ["--encoder", str(encoder_path)]
    for arguments in (
        ["--examples", str(tmp_path / "none.txt"), "--out", str(out), *encoder],
        ["--examples", str(examples), "--out", str(out), "--encoder", str(tmp_path / "none")],
        ["--examples", str(examples), "--out", str(tmp_path / "none" / "x.json"), *encoder],
    ):
        assert main(arguments) == 1
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"centroid": 3, "encoder": "x"}', '{"centroid": ["a"], "encoder": 1}']
)
def test_a_file_that_is_no_router_json_is_told(tmp_path, text):
    path = tmp_path / "router.json"
    path.write_text(text)
    with pytest.raises(InvalidCentroid, match=r"router\.json is no router\.json; make one by"):
        read_fitted(path)
