"""Whose fault an error is that vLLM raises."""

from vllm.exceptions import VLLMValidationError

from server.engine.errors import refusal

SAID = VLLMValidationError("no such regex", parameter="regex")


def caused(cause: BaseException) -> RuntimeError:
    error = RuntimeError("the response had begun")
    error.__cause__ = cause
    return error


def test_what_vllm_says_of_a_request_is_read_wherever_it_was_raised_from():
    for error in (SAID, caused(SAID), caused(caused(SAID))):
        assert refusal(error) == {"message": "no such regex", "param": "regex"}


def test_any_other_error_is_no_fault_of_the_request():
    for error in (ValueError("x"), caused(ValueError("x")), RuntimeError("y")):
        assert refusal(error) is None


def test_what_was_being_handled_meanwhile_is_no_cause():
    error = RuntimeError("another")
    error.__context__ = SAID
    assert refusal(error) is None
