"""What training frameworks write is taken or refused as docs/compatibility.md says, row by row."""

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from adapters.adapter import Adapter
from adapters.archive import place_files, unpack_archive
from adapters.errors import InvalidAdapter, MalformedFile, ShapeMismatch, UnknownTensor, UnsafeFile
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from tests.support.archives import tar_gz_of, zip_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
VERSIONS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "support" / "peft_configs").glob("*.json"))
}
Folder = dict[str, bytes]

UNSLOTH_TARGETS = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)"
    r".*?(?:q_proj|v_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\."
    r"(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\.(?:(?:q_proj|v_proj)))"
)


class Trained:
    """One adapter that was trained, and how frameworks lay it down."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        self.weights = (folder / WEIGHTS).read_bytes()

    def files(self, at: str = "", **config: Any) -> Folder:
        """Both files, with fields of the config changed; None takes a field away."""
        written = {k: v for k, v in (self.config | config).items() if v is not None}
        return {at + CONFIG: json.dumps(written).encode(), at + WEIGHTS: self.weights}

    def renamed(self, change: Callable[[str], str]) -> Folder:
        """Both files, with other names for the tensors."""
        tensors = {change(name): tensor for name, tensor in load(self.weights).items()}
        return self.files() | {WEIGHTS: save(tensors)}


@pytest.fixture
def trained(good_folder: Path) -> Trained:
    return Trained(good_folder)


@pytest.fixture(params=["files", "zip", "tar.gz"])
def take(request: pytest.FixtureRequest, registry: AdapterRegistry) -> Callable[[Folder], Adapter]:
    """Upload what lies in a folder, in each of the three forms."""

    def upload(folder: Folder) -> Adapter:
        with registry.store.staging() as stage:
            if request.param == "files":
                at = min((name for name in folder if name.endswith(CONFIG)), key=_depth)
                at = at.removesuffix(CONFIG)
                name = WEIGHTS if at + WEIGHTS in folder else "adapter_model.bin"
                if at + name not in folder:
                    pytest.skip("such a folder has no two files to send by themselves")
                config, weights = io.BytesIO(folder[at + CONFIG]), io.BytesIO(folder[at + name])
                place_files(config, weights, stage, Limits(), name)
            else:
                pack = zip_of if request.param == "zip" else tar_gz_of
                packed = pack([("out/" + name, content) for name, content in folder.items()])
                unpack_archive(io.BytesIO(packed), stage, Limits())
            return registry.add("trained", stage)[0]

    return upload


def _depth(name: str) -> int:
    return name.count("/")


def beside_a_trainer(trained: Trained) -> Folder:
    """What Hugging Face's Trainer leaves beside the adapter, and in its checkpoints."""
    checkpoint = {
        **trained.files("checkpoint-69/", r=16),
        "checkpoint-69/optimizer.pt": os.urandom(3 * len(trained.weights)),
        "checkpoint-69/scheduler.pt": b"PK\x03\x04x",
        "checkpoint-69/rng_state.pth": b"PK\x03\x04x",
        "checkpoint-69/trainer_state.json": b"{}",
        "checkpoint-69/training_args.bin": b"PK\x03\x04x",
    }
    tokenizer = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    return {
        **checkpoint,
        **dict.fromkeys((*tokenizer, "all_results.json", "chat_template.jinja"), b"{}" * 999),
        "README.md": b"---\nbase_model: x\n---\n",
        "training_args.bin": b"PK\x03\x04x",
        "runs/Nov28_host/events.out.tfevents.0": b"x" * 5000,
    }


def deepspeed(at: str = "checkpoint-69/") -> Folder:
    """What DeepSpeed leaves in a checkpoint."""
    shard = f"{at}global_step69/zero_pp_rank_0_mp_rank_00_optim_states.pt"
    return {
        shard: os.urandom(4000),
        f"{at}global_step69/mp_rank_00_model_states.pt": os.urandom(4000),
        f"{at}latest": b"global_step69",
        f"{at}zero_to_fp32.py": b"#!/usr/bin/env python\n",
    }


def test_every_row_of_the_table_is_tried() -> None:
    section = re.search(r"^## What training frameworks write$.*?(?=^## |\Z)", _docs(), re.M | re.S)
    assert section is not None
    rows = re.findall(r"^\| (?!from|-)(.+?) \|.*\| `(\w+)` \|$", section[0], re.M)
    assert len(rows) >= 12
    for row, test in rows:
        assert test in globals(), f"{row}: there is no such test"
    tests = {name for name in globals() if name.startswith("test_")}
    assert tests - {test for _, test in rows} == {"test_every_row_of_the_table_is_tried"}


def _docs() -> str:
    return DOCS.read_text("utf-8")


@pytest.mark.parametrize("version", [v for v in VERSIONS if VERSIONS[v]["safe_serialization"]])
def test_peft_with_safetensors(version: str, trained: Trained, take: Any) -> None:
    saved = VERSIONS[version]["config"]
    own = {key: trained.config[key] for key in ("r", "lora_alpha", "target_modules")}
    config = {**saved, **own, "inference_mode": True, "task_type": "CAUSAL_LM"}
    files = {CONFIG: json.dumps(config).encode(), WEIGHTS: trained.weights}
    assert take(files).warnings == ()


@pytest.mark.parametrize("version", [v for v in VERSIONS if not VERSIONS[v]["safe_serialization"]])
def test_peft_with_pickles(version: str, trained: Trained, take: Any) -> None:
    own = {key: trained.config[key] for key in ("r", "lora_alpha", "target_modules")}
    config = json.dumps({**VERSIONS[version]["config"], **own}).encode()
    with pytest.raises(UnsafeFile, match="pickled"):
        take({CONFIG: config, "adapter_model.bin": b"PK\x03\x04x"})
    assert take({CONFIG: config, WEIGHTS: trained.weights}).warnings == ()


def test_peft_fields_of_tomorrow(trained: Trained, take: Any) -> None:
    off = trained.files(use_next_years_idea=False, another_idea=[], a_third={})
    assert take(off).warnings == ()
    for field in ("use_next_years_idea", "use_dora", "use_qalora"):
        with pytest.raises(InvalidAdapter, match=field):
            take(trained.files(**{field: True}))


def test_transformers_trainer(trained: Trained, take: Any) -> None:
    assert take(beside_a_trainer(trained) | trained.files()).rank == trained.config["r"]


def test_trl(trained: Trained, take: Any) -> None:
    files = beside_a_trainer(trained) | trained.files(
        auto_mapping=None, inference_mode=True, modules_to_save=["embed_tokens", "lm_head"]
    )
    assert "modules_to_save" in take(files).warnings[0]


def test_unsloth(trained: Trained, take: Any) -> None:
    mapping = {"base_model_class": "LlamaForCausalLM", "unsloth_fixed": True}
    files = beside_a_trainer(trained) | trained.files(
        auto_mapping={**mapping, "parent_library": "transformers.models.llama.modeling_llama"},
        base_model_name_or_path="unsloth/tiny-llama-unsloth-bnb-4bit",
        target_modules=UNSLOTH_TARGETS,
    )
    (warning,) = take(files).warnings
    assert "unsloth/tiny-llama-unsloth-bnb-4bit" in warning


def test_llama_factory(trained: Trained, take: Any) -> None:
    beside = {
        "trainer_log.jsonl": b"{}\n" * 500,
        "training_loss.png": b"\x89PNG",
        "llamaboard_config.yaml": b"a: 1",
        "train_results.json": b"{}",
    }
    vision = trained.files(target_modules=r"^(?!.*visual).*\.(q_proj|v_proj)$")
    assert take(beside_a_trainer(trained) | deepspeed() | beside | vision).warnings == ()


def test_axolotl(trained: Trained, take: Any) -> None:
    beside = {"config.json": b"{}", "debug.log": b"x" * 9000, "completed/done": b""}
    head = "base_model.model.lm_head.weight"
    files = beside_a_trainer(trained) | beside | trained.files(modules_to_save=["lm_head"])
    assert "without effect" in take(files).warnings[0]
    tensors = load(trained.weights) | {head: torch.ones(128, 64)}
    with pytest.raises(UnknownTensor, match=r"lm_head\.weight.*train without it"):
        take(files | {WEIGHTS: save(tensors)})


def test_torchtune(trained: Trained, take: Any) -> None:
    few = {key: trained.config[key] for key in ("r", "lora_alpha", "target_modules")}
    config = json.dumps({**few, "peft_type": "LORA"}).encode()
    epoch = {
        "epoch_0/adapter_config.json": config,
        "epoch_0/adapter_model.safetensors": trained.weights,
        "epoch_0/adapter_model.pt": b"PK\x03\x04x",
        "epoch_0/ft-model-00001-of-00001.safetensors": os.urandom(4000),
        "recipe_state/recipe_state.pt": b"PK\x03\x04x",
    }
    assert take(epoch).base_model is None


def test_torchtune_epochs(trained: Trained, registry: AdapterRegistry, tmp_path: Path) -> None:
    epochs = [(n, c) for e in range(3) for n, c in trained.files(f"epoch_{e}/").items()]
    for pack in (zip_of, tar_gz_of):
        with pytest.raises(MalformedFile, match="3 adapters side by side"):
            unpack_archive(io.BytesIO(pack(epochs)), tmp_path, Limits())


def test_deepspeed_leftovers(trained: Trained, take: Any) -> None:
    assert take(trained.files() | deepspeed() | deepspeed("")).rank == trained.config["r"]


def test_deepspeed_partitions(trained: Trained, take: Any) -> None:
    empty = {name: torch.zeros(0) for name in load(trained.weights)}
    with pytest.raises(ShapeMismatch, match="ZeRO-3"):
        take(trained.files() | {WEIGHTS: save(empty)})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: "module." + name,
        lambda name: "_orig_mod." + name,
        lambda name: "_forward_module." + name,
        lambda name: name.replace(".self_attn.", "._checkpoint_wrapped_module.self_attn."),
        lambda name: "_fsdp_wrapped_module." + name.replace(".layers.0.", ".layers.0._orig_mod."),
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.removeprefix("base_model.model."),
    ],
)
def test_wrappers(
    wrap: Callable[[str], str], trained: Trained, take: Any, registry: AdapterRegistry
) -> None:
    plain = take(trained.files())
    assert take(trained.renamed(wrap)).digest == plain.digest
