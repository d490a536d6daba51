"""A base model is told by the last component of its name."""

import pytest

from adapters.validation.base_identity import is_hub_id, last_component, public_name


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("Tiny-Llama", "tiny-llama"),
        (" org/Tiny-Llama ", "tiny-llama"),
        ("/home/ann//models/Tiny-Llama/", "tiny-llama"),
        (r"C:\models\Merged", "merged"),
        ("/h/hub/models--org--Tiny-Llama/snapshots/0123abcd", "tiny-llama"),
        ("/h/hub/models--org--a--b/snapshots/0123abcd", "a--b"),
        ("models--tiny/x", "x"),
        ("", ""),
        (" / ", ""),
    ],
)
def test_the_component_that_is_compared(name: str, component: str) -> None:
    assert last_component(name) == component


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("tiny", True),
        ("org/tiny-1.5_b", True),
        (" org/tiny ", True),
        ("./tiny", False),
        (".tiny", False),
        ("a/b/c", False),
        ("/tiny", False),
        ("org/", False),
        (r"a\b", False),
        ("", False),
    ],
)
def test_what_is_a_hub_id(name: str, is_one: bool) -> None:
    assert is_hub_id(name) is is_one


@pytest.mark.parametrize(
    ("name", "public"),
    [
        (None, None),
        ("", None),
        ("/", None),
        (" org/Tiny ", "org/Tiny"),
        ("/home/ann/secret/Tiny", "tiny"),
        ("./checkpoint-500", "checkpoint-500"),
    ],
)
def test_of_a_folder_only_the_last_component_is_shown(name: str | None, public: str | None) -> None:
    assert public_name(name) == public
