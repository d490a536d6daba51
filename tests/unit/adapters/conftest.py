"""A tiny Llama and adapters that PEFT itself made for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage
from adapters.validation.base_model import BaseModelShapes, read_base_model

BASE_NAME = "tiny-llama"

MakeAdapter = Callable[..., tuple[Path, dict[str, float]]]
OpenRegistry = Callable[..., AdapterRegistry]

KINDS = ("sqlite+local", "postgres+local", "sqlite+s3", "postgres+s3")


def new_locations(storage_kind: str, root: Path, request: pytest.FixtureRequest) -> Locations:
    """Empty locations of one of KINDS; only what they need is started."""
    database, store = storage_kind.split("+")
    locations = Locations(root)
    if database == "postgres":
        url = request.getfixturevalue("postgres").new_database()
        locations = replace(locations, database_url=url)
    if store == "s3":
        s3 = request.getfixturevalue("s3")
        url = f"s3://{s3.new_bucket()}/some/prefix"
        locations = replace(locations, store_url=url, store_options=s3.options)
    return locations


@pytest.fixture(scope="session")
def tiny_config() -> Any:
    from tests.support.tiny_llama import small_config

    return small_config()


@pytest.fixture(scope="session")
def base(tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> BaseModelShapes:
    folder = tmp_path_factory.mktemp("base") / BASE_NAME
    tiny_config.save_pretrained(folder)
    return read_base_model(folder, BASE_NAME)


@pytest.fixture(scope="session")
def peft_adapter(
    tiny_config: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, dict[str, float]]]:
    """Make an adapter with PEFT; return its folder and PEFT's own scaling of each module."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    def make(
        dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any
    ) -> tuple[Path, dict[str, float]]:
        torch.manual_seed(seed)
        options = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]} | options
        options = {"init_lora_weights": False} | options
        model = get_peft_model(
            LlamaForCausalLM(tiny_config).to(dtype),
            LoraConfig(**options),
            autocast_adapter_dtype=False,
        )
        folder = tmp_path_factory.mktemp("adapter")
        model.save_pretrained(folder)
        scalings = {
            name.removeprefix("base_model.model."): module.scaling["default"]
            for name, module in model.named_modules()
            if hasattr(module, "lora_A")
        }
        return folder, scalings

    return make


@pytest.fixture(scope="session")
def good_folder(peft_adapter: Callable[..., tuple[Path, dict[str, float]]]) -> Path:
    """A plain adapter of rank 8 on q_proj and v_proj."""
    return peft_adapter()[0]


@pytest.fixture
def storage_kind() -> str:
    """Where names and contents are kept; tests name others of KINDS."""
    return "sqlite+local"


@pytest.fixture
def locations(storage_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Locations:
    """Empty locations of that kind."""
    return new_locations(storage_kind, tmp_path / "data", request)


@pytest.fixture
def open_registry(base: BaseModelShapes) -> Iterator[OpenRegistry]:
    """Open registries that are closed after the test."""
    opened: list[AdapterRegistry] = []

    def make(
        locations: Locations, base: BaseModelShapes = base, limits: Limits | None = None
    ) -> AdapterRegistry:
        storage = open_storage(locations)
        opened.append(AdapterRegistry(locations.root, base, limits or Limits(), {"auto"}, storage))
        return opened[-1]

    yield make
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(locations: Locations, open_registry: OpenRegistry) -> AdapterRegistry:
    return open_registry(locations)


@pytest.fixture
def reopen(
    locations: Locations, open_registry: OpenRegistry, base: BaseModelShapes
) -> Callable[..., AdapterRegistry]:
    def make(base: BaseModelShapes = base, limits: Limits | None = None) -> AdapterRegistry:
        return open_registry(locations, base, limits)

    return make


@pytest.fixture(scope="session")
def other_folder(peft_adapter: MakeAdapter) -> Path:
    return peft_adapter(seed=1, r=16)[0]


@pytest.fixture(scope="session")
def third_folder(peft_adapter: MakeAdapter) -> Path:
    return peft_adapter(seed=2)[0]
