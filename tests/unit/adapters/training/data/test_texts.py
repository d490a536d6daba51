"""The texts of a centroid are the prompts of the training data, as they are served."""

import json

from adapters.training.data import texts


def test_prompts_come_without_answers_unless_asked_for(tmp_path, maths_file):
    out = tmp_path / "texts.jsonl"
    command = ["--task", "maths", "--data", str(maths_file), "--out", str(out), "--limit", "2"]
    assert texts.main(command) == 0
    lines = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    assert lines == [
        "Question: What is 0 plus 0?\n\nAnswer:",
        "Question: What is 1 plus 1?\n\nAnswer:",
    ]
    assert texts.main([*command, "--with-answers"]) == 0
    assert json.loads(out.read_text().splitlines()[0])["text"].endswith("Answer: 0 + 0")


def test_bad_data_ends_in_one_line(tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")
    assert texts.main(["--task", "maths", "--data", str(data), "--out", str(tmp_path / "o")]) == 1
    assert "line 1: field 'question' is missing" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(tmp_path, maths_file, capsys):
    out = tmp_path / "nowhere" / "texts.jsonl"
    assert texts.main(["--task", "maths", "--data", str(maths_file), "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"error: {out}: No such file or directory\n"
