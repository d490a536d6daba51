import pytest

from server.errors import InvalidRequest, PromptNotText
from server.generation.prompts import Api, count_prompts, read_plain, read_prompts


def decode(ids):
    return " ".join("abc"[i] for i in ids)


def texts(api: Api, **body) -> list[str]:
    return [text.whole for text in read_prompts(api, body, decode)]


def test_chat_gives_roles_and_texts():
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "two"},
    ]
    (text,) = read_prompts(Api.CHAT, {"messages": messages}, decode)
    assert text.messages == (("system", "be brief"), ("user", "one"), ("user", "two"))
    assert text.last_message == "two"


@pytest.mark.parametrize("messages", [None, "hi", [], [3], [{"content": {}}], [{}]])
def test_what_is_no_message_is_left_for_the_engine_to_refuse(messages):
    assert texts(Api.CHAT, messages=messages) == [""]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([0, 1], ["a b"]),
        ([[0, 1], [2]], ["a b", "c"]),
        (["one", [2]], ["one", "c"]),
        (None, [""]),
        ([], [""]),
    ],
)
def test_completions_give_one_text_for_each_prompt(prompt, expected):
    assert texts(Api.COMPLETIONS, prompt=prompt) == expected
    assert count_prompts(Api.COMPLETIONS, {"prompt": prompt}) == len(expected)


@pytest.mark.parametrize("prompt", [[99], [[0], [99]], [-99]])
def test_ids_that_stand_for_no_text_are_told(prompt):
    with pytest.raises(PromptNotText):
        texts(Api.COMPLETIONS, prompt=prompt)


@pytest.mark.parametrize("prompt", [3, {"a": 1}, [True], [1.5], [None, "a"], [["a"]]])
def test_other_prompts_are_refused(prompt):
    with pytest.raises(InvalidRequest):
        texts(Api.COMPLETIONS, prompt=prompt)


def test_responses_give_instructions_and_input():
    (text,) = read_prompts(Api.RESPONSES, {"instructions": "be brief", "input": "one"}, decode)
    assert text.messages == (("system", "be brief"), ("user", "one"))
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
    ]
    (text,) = read_prompts(Api.RESPONSES, {"input": items}, decode)
    assert text.messages == (("user", "one"), ("tool", "42"))


def test_only_completions_have_several_prompts():
    assert count_prompts(Api.CHAT, {"prompt": ["a", "b"]}) == 1


def test_a_dry_run_reads_a_text_or_messages():
    assert read_plain("one", "input").whole == "one"
    assert read_plain([{"role": "user", "content": "two"}], "input").last_message == "two"
    for wrong in (3, [], ["a"], None):
        with pytest.raises(InvalidRequest):
            read_plain(wrong, "input")
