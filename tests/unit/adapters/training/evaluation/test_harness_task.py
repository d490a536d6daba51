"""The harness's task asks as the server's own evaluation does."""

from pathlib import Path

import jinja2
import yaml

from adapters.training.data.templates import TEMPLATES

TASK = Path(__file__).resolve().parents[5] / "examples" / "harness" / "science.yaml"


def test_the_harness_asks_in_the_form_that_adapters_are_trained_in():
    task = yaml.safe_load(TASK.read_text())
    row = {"question": "Which is a gas?", "choices": ["iron", "neon", "salt"], "answer": "B"}

    def rendered(key):
        # As the harness makes its environment.
        return jinja2.Environment(keep_trailing_newline=True).from_string(task[key]).render(row)

    example = TEMPLATES["science"].example(row)
    assert rendered("doc_to_text") == example.prompt
    assert rendered("doc_to_choice") == str(["A", "B", "C"])
    assert rendered("doc_to_target") == "1"
