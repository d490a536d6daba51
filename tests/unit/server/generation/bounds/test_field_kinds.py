"""Fields that vLLM takes apart unseen are held to their kinds first."""

import pytest

from server.errors import InvalidRequest
from server.generation.bounds.field_kinds import check_kinds

SCALARS = [0, -1, 1.5, True, "x", ""]
FIELDS = {
    **{key: [[], ["x"]] for key in ("structured_outputs", "response_format", "stream_options")},
    "messages": [{}, {"a": 1}],
    "tools": [{}, {"a": 1}],
}


@pytest.mark.parametrize("field", FIELDS)
def test_another_kind_is_refused(field):
    for wrong in (*SCALARS, *FIELDS[field]):
        with pytest.raises(InvalidRequest) as caught:
            check_kinds({field: wrong})
        assert caught.value.param == field


@pytest.mark.parametrize("field", ["messages", "tools"])
def test_each_entry_is_an_object(field):
    for wrong in (*SCALARS, [], None):
        with pytest.raises(InvalidRequest) as caught:
            check_kinds({field: [{}, wrong]})
        assert caught.value.param == f"{field}.1"


@pytest.mark.parametrize("wrong", [3, "x", [], None])
def test_a_function_is_an_object(wrong):
    for body in ({"tools": [{"function": wrong}]}, {"tool_choice": {"function": wrong}}):
        with pytest.raises(InvalidRequest, match=r"function' must be an object"):
            check_kinds(body)


@pytest.mark.parametrize("wrong", [3, 1.5, True, [], ["auto"]])
def test_a_tool_choice_is_a_text_or_an_object(wrong):
    with pytest.raises(InvalidRequest, match="'tool_choice' must be a text or an object"):
        check_kinds({"tool_choice": wrong})


def test_what_is_right_or_not_there_passes():
    tool = {"type": "function", "function": {"name": "f"}}
    check_kinds({})
    check_kinds({"messages": [], "tools": [tool], "tool_choice": tool, "response_format": {}})
    check_kinds({"tool_choice": "auto", "structured_outputs": {"choice": ["a"]}, "other": 3})
