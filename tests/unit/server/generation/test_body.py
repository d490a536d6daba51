import pytest

from server.edge.body.json_body import parse_object
from server.errors import InvalidRequest, MalformedJson, UnsupportedParameter
from server.generation.body import CleanBody
from server.generation.body import clean as clean_body
from server.generation.token_counts import StreamCounts, counting


def clean(body) -> CleanBody:
    return clean_body(body, 4)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{'a': 1}",
    ],
)
def test_what_is_no_json_object_is_told(raw):
    with pytest.raises(MalformedJson) as caught:
        parse_object(raw)
    assert len(str(caught.value)) < 300


def test_json_with_escapes_is_read():
    assert parse_object(b'{"a": "\\u00e4 \\ud83d\\ude00"}') == {"a": "ä 😀"}


def test_our_fields_and_those_that_name_things_are_taken_out():
    cleaned = clean(
        {
            "model": "m",
            "messages": [],
            "mixture": {},
            "policy": "p",
            "routing": {},
            "lora": [],
            "adapter_id": "a",
            "adapter_source": "hub",
            "api_token": "secret",
            "merged_adapters": {},
            "request_id": "r",
            "session_id": "s",
            "priority": 0,
            "cache_salt": "salt",
            "kv_transfer_params": None,
            "temperature": 0.5,
        }
    )
    assert cleaned.fields == {"model": "m", "messages": [], "temperature": 0.5}
    assert cleaned.user_salt == "salt"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kv_transfer_params": {}}, "kv_transfer_params"),
        ({"ec_transfer_params": {"a": 1}}, "ec_transfer_params"),
        ({"prompt_embeds": "x"}, "prompt_embeds"),
        ({"background": True}, "background"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"priority": 1}, "priority"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"vllm_xargs": {"loralloy": "x"}}, "vllm_xargs"),
        ({"vllm_xargs": {"loralloy_mixture": 1}}, "vllm_xargs"),
        ({"vllm_xargs": {"kv_transfer_params": "x"}}, "vllm_xargs"),
    ],
)
def test_what_no_client_may_say_is_refused(body, param):
    with pytest.raises(UnsupportedParameter) as caught:
        clean(body)
    assert caught.value.param == param


def test_harmless_extensions_pass():
    assert clean({"vllm_xargs": {"mine": 1}}).fields == {"vllm_xargs": {"mine": 1}}


@pytest.mark.parametrize("salt", ["", "a/b", "a@b", "a\\b", "a\0b", "x" * 129, 3, []])
def test_a_cache_salt_has_a_narrow_form(salt):
    with pytest.raises(InvalidRequest) as caught:
        clean({"cache_salt": salt})
    assert caught.value.param == "cache_salt"


def test_include_mixture_is_ours_and_the_rest_is_not():
    body = {"stream": True, "stream_options": {"include_mixture": True, "include_usage": True}}
    cleaned = clean(body)
    assert cleaned.tells_mixture
    assert cleaned.fields == {"stream": True, "stream_options": {"include_usage": True}}
    assert body["stream_options"]["include_mixture"], "the client's body is left alone"
    assert clean({"stream_options": {"include_mixture": False}}).fields == {}
    assert not clean({"stream": True}).tells_mixture


@pytest.mark.parametrize(
    "body",
    [
        {"stream_options": {"include_mixture": True}},
        {"stream": True, "stream_options": {"include_mixture": "yes"}},
    ],
)
def test_include_mixture_is_a_flag_of_streams(body):
    with pytest.raises(InvalidRequest):
        clean(body)


def test_so_many_answers_and_no_more():
    assert clean({"n": 4}).fields == {"n": 4}
    with pytest.raises(InvalidRequest) as caught:
        clean({"n": 5})
    assert caught.value.param == "n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, StreamCounts(False, False)),
        ({}, StreamCounts(False, False)),
        ({"include_usage": True}, StreamCounts(True, False)),
        ({"include_usage": True, "continuous_usage_stats": True}, StreamCounts(True, True)),
        ({"include_usage": None, "continuous_usage_stats": True}, StreamCounts(False, True)),
    ],
)
def test_a_stream_can_be_made_to_count(options, expected):
    fields = {"stream": True} if options is None else {"stream": True, "stream_options": options}
    before = dict(fields)
    counted, usage = counting(fields)
    assert usage == expected
    assert counted["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert counted["stream"]
    assert fields == before


@pytest.mark.parametrize("options", [3, "x", {"include_usage": "yes"}, {"include_usage": 1}])
def test_what_the_engine_has_to_refuse_is_left_alone(options):
    assert counting({"stream_options": options}) is None


@pytest.mark.parametrize("n", ["2", "100", 2.0, True, [2]])
def test_the_number_of_answers_is_a_whole_number(n):
    with pytest.raises(InvalidRequest) as caught:
        clean({"n": n})
    assert caught.value.param == "n"
    assert clean({"n": None}).fields == {"n": None}
