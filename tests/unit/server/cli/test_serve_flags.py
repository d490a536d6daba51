"""The options of ``loralloy serve`` are those of the settings: their types, their defaults."""

import re
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from server.cli.serve_flags import FLAGS, Flag, nested
from server.engine.settings import EngineSettings
from server.settings import Settings, load_settings


def field_of(flag: Flag) -> FieldInfo:
    group, _, field = flag.setting.rpartition(".")
    holders: dict[str, type[BaseModel]] = {"": Settings, "engine": EngineSettings}
    return holders[group].model_fields[field]


def kinds_of(annotation: Any) -> set[Any]:
    """The plain types that an annotation admits, without None."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return {type(one) for one in get_args(annotation)}
    if isinstance(annotation, UnionType):
        return {kind for one in get_args(annotation) for kind in kinds_of(one)} - {type(None)}
    return {get_origin(annotation) or annotation}


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.setting)
def test_an_option_has_the_type_and_the_default_of_its_field(flag: Flag) -> None:
    field = field_of(flag)
    bracketed = re.search(r"\[(.+)\]$", flag.help)
    if flag.stands_for is not None:
        assert flag.kind is bool
        assert TypeAdapter(field.annotation).validate_python(flag.stands_for) == flag.stands_for
        assert flag.stands_for != field.default
        return
    assert kinds_of(field.annotation) == {flag.kind}
    if field.default not in (None, ()):
        assert bracketed is not None, "its default is not in its help"
        assert bracketed[1] == str(field.default)


def test_no_two_options_are_called_alike() -> None:
    names = [name for flag in FLAGS for name in flag.names]
    assert len(names) == len(set(names))
    assert len(FLAGS) == len({flag.setting for flag in FLAGS})


def test_what_is_given_reaches_its_field_and_nothing_else() -> None:
    nothing = {flag.parameter: False if flag.stands_for is False else None for flag in FLAGS}
    assert nested(nothing) == {}
    given = nested(
        nothing
        | {
            "port": 0,
            "max_loras": 5,
            "eager": True,
            "api_key": ["a", "b"],
            "no_demo_adapters": True,
        }
    )
    assert given == {
        "port": 0,
        "api_keys": ("a", "b"),
        "demo_adapters": False,
        "engine": {"max_loras": 5, "compile": "never"},
    }
    settings = load_settings(given)
    assert settings.api_keys == (SecretStr("a"), SecretStr("b"))
    assert settings.engine.max_loras == 5
