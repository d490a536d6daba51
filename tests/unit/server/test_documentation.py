"""The tables of docs/ name everything that the code has, with its true default."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from adapters import errors as adapter_errors
from router import errors as router_errors
from server import errors as server_errors
from server.access.settings import AccessSettings
from server.edge.errors import error_status
from server.edge.settings import CorsSettings, LimitSettings
from server.engine import errors as engine_errors
from server.engine.settings import EngineSettings
from server.engine.structured.settings import StructuredOutputSettings
from server.residency.settings import ResidencySettings
from server.settings import Settings, StorageSettings
from server.sources.settings import SourceSettings
from server.traces.settings import TraceSettings

DOCS = Path(__file__).resolve().parents[3] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text("utf-8")
API = (DOCS / "api.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "The server": Settings,
    "The engine": EngineSettings,
    "Limits": LimitSettings,
    "Structured output": StructuredOutputSettings,
    "Web pages": CorsSettings,
    "Residency": ResidencySettings,
    "Storage": StorageSettings,
    "Traces": TraceSettings,
    "Access": AccessSettings,
    "Sources": SourceSettings,
}
NESTED = {
    *("engine", "limits", "structured_outputs", "cors", "residency", "storage", "traces"),
    *("access", "sources"),
}


def rows(heading: str) -> dict[str, str]:
    """Setting → default, as the section's table has them."""
    section = re.search(rf"^## {heading}.*?(?=^## |\Z)", CONFIGURATION, re.M | re.S)
    assert section
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section[0], re.M))


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_is_described_with_its_default(heading: str) -> None:
    fields = {k: f for k, f in SECTIONS[heading].model_fields.items() if k not in NESTED}
    told = rows(heading)
    assert list(told) == list(fields)
    for name, field in fields.items():
        default = field.default
        if isinstance(default, tuple) and default:
            assert told[name] == ", ".join(f"`{one}`" for one in default), name
        elif isinstance(default, bool):
            assert told[name] == f"`{str(default).lower()}`", name
        elif name != "demo_dir" and default not in (None, (), PydanticUndefined):
            assert told[name] == f"`{default}`", name


@pytest.mark.parametrize(
    "module",
    [adapter_errors, router_errors, server_errors, engine_errors],
    ids=lambda m: m.__name__,
)
def test_every_error_code_is_listed(module) -> None:
    codes = {
        value.code
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception) and hasattr(value, "code")
    }
    assert codes
    assert [code for code in sorted(codes) if f"`{code}`" not in API] == []


def test_each_code_stands_at_its_status() -> None:
    errors = API.partition("## Errors")[2]
    for error, (status, _) in error_status.STATUS.items():
        listed = re.findall(rf"^\| (\d+).*`{error.code}`", errors, re.M)
        assert set(listed) <= {str(status)}, error.code


def test_every_own_route_is_listed() -> None:
    from server.app import OWN_MODULES

    for module in OWN_MODULES:
        for served in module.router.routes:
            for method in served.methods - {"HEAD"}:
                path = served.path.replace(":path", "")
                assert f"`{method} {path}`" in API, f"{method} {path}"
