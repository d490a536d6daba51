"""Names are file names, model names and labels at once."""

import pytest

from adapters.errors import InvalidName
from adapters.names import RESERVED_NAMES, check_name


@pytest.mark.parametrize("name", ["a", "0", "maths", "my-lora_v1.2", "a" * 64, "a..b"])
def test_names_that_are_given(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", ".hidden", "-x", "_x", "a/b", "../x", "a b", "a\n", "ä", "a" * 65, "a:b", "a\0"],
)
def test_names_that_break_the_rule(name: str) -> None:
    with pytest.raises(InvalidName, match="cannot be an adapter's name"):
        check_name(name)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names(name: str) -> None:
    with pytest.raises(InvalidName, match="reserved"):
        check_name(name)


def test_further_reserved_names_may_come_and_go() -> None:
    policies = {"auto"}
    with pytest.raises(InvalidName):
        check_name("auto", lambda: policies)
    policies.clear()
    assert check_name("auto", lambda: policies) == "auto"
