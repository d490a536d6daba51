"""Each task has one form, which never shows the answer in the prompt."""

import pytest

from adapters.training.data.templates import TEMPLATES

ROWS = {
    "maths": {"question": "Two and two?", "answer": "Four.\n#### 4"},
    "science": {"question": "Which is hot?", "choices": ["ice", "fire"], "answer": "B"},
    "code": {"instruction": "Add.", "input": "a, b", "output": "a + b"},
    "reading": {"context": "It rained.", "question": "What fell?", "answer": "rain"},
    "preference": {"prompt": "Say hello.", "chosen": "Hello.", "rejected": "No."},
    "lori": {"instruction": "Add.", "input": "a, b", "output": "a + b"},
    "lori_maths": {"question": "Two and two?", "answer": "Four.\n#### 4"},
}
PROMPTS = {
    "maths": "Question: Two and two?\n\nAnswer:",
    "science": "Question: Which is hot?\nChoices:\nA. ice\nB. fire\n\nAnswer:",
    "code": "Add.\nInput: a, b\n\nAnswer:",
    "reading": "Context:\nIt rained.\n\nQuestion: What fell?\n\nAnswer:",
    "preference": "Say hello.\n\nAnswer:",
    "lori": "### Instruction:\nAdd.\n\n### Input:\na, b\n\n### Response:",
    "lori_maths": "### Instruction:\nTwo and two?\nLet's think step by step.\n\n### Response:",
}
COMPLETIONS = {"lori_maths": " Four.\nThe final answer is: 4"}


@pytest.mark.parametrize("task", list(TEMPLATES))
def test_prompt_ends_at_answer_and_completion_begins_with_a_blank(task):
    template = TEMPLATES[task]
    example = template.example(ROWS[task])
    assert example.prompt == PROMPTS[task]
    assert example.completion == COMPLETIONS.get(task, f" {ROWS[task][template.answer]}")
    assert (example.rejected is None) == (task != "preference")


def test_code_without_input_has_no_input_line():
    example = TEMPLATES["code"].example({"instruction": "Add.", "input": " ", "output": "a"})
    assert example.prompt == "Add.\n\nAnswer:"
