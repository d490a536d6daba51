"""The parts that a run needs, and the digests that say which parts they were."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adapters.adapter import RoutingData
from adapters.errors import AdapterError
from adapters.training.run.base_model import load_base, public_name
from benchmarks.routing_accuracy.texts import training_prompts
from benchmarks.scopes.gated import GatedModel
from benchmarks.scopes.items import Item
from benchmarks.scopes.measure import Bench
from benchmarks.scopes.variants import Variant
from router.centroids.centroid import centroid
from router.centroids.index import CentroidIndex
from router.encoders.blocks import in_blocks
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.encoders.static import StaticEncoder, bundled_for
from router.policies.config import load_policies
from router.router import Router
from server.catalogue.routing_data import read_routing

WEIGHTS = "adapter_model.safetensors"
TEXTS_REMEMBERED = 4096
"""More than the stretches of one answer: each is embedded once, whatever the policies."""


class ScopesError(AdapterError):
    """The options or folders do not allow the run."""

    code = "scopes_error"


@dataclass(frozen=True)
class Parts:
    """What a run is of.

    Attributes:
        base_model: folder of the base model.
        encoder: folder of the encoder.
        adapters: folder that holds one folder for each task's adapter.
        names: the adapters.
        policy_file: file of the policies.
        policies: those of it that are compared.
        dtype: the base model's number format.
        device: where the base model runs.
        examples: folder of training files: each adapter then has one centroid, the mean of its
            task's first training prompts, in place of those that come with it.
    """

    base_model: str
    encoder: str
    adapters: Path
    names: tuple[str, ...]
    policy_file: Path
    policies: tuple[str, ...]
    dtype: str
    device: str
    examples: Path | None = None

    def load(self) -> Bench:
        """Load everything.

        Raises:
            AdapterError: the base model, an adapter or a training file cannot be read.
            RoutingError: the encoder, a policy or a centroid cannot be read.
        """
        folders = {name: self.adapters / name for name in self.names}
        encoder = SentenceTransformerEncoder(self.encoder, cache_size=TEXTS_REMEMBERED)
        known, base = load_policies(self.policy_file), Path(self.base_model)
        policies = {name: known[name] for name in self.policies if name in known}
        bundled = bundled_for(base)
        static = None if bundled is None else StaticEncoder(bundled, tokenizer=base)
        router = Router(encoder, CentroidIndex(), policies, static=static)
        for name, folder in folders.items():
            digest = _digest_of(folder / WEIGHTS)
            if self.examples is None:
                router.add_adapter(name, digest, _routing(folder))
            else:
                mean = centroid(encoder, training_prompts(self.examples, name))
                router.index.put(name, digest, mean)
        model, tokenizer = load_base(self.base_model, self.dtype)
        gated = GatedModel(model.to(torch.device(self.device)), folders)
        return Bench(gated, tokenizer, router)

    def identity(self, router: Router) -> dict[str, object]:
        """What every figure depends on, without any path."""
        return {
            "base_model": public_name(self.base_model),
            "dtype": self.dtype,
            "adapters": dict(router.index.snapshot.known),
        }


def key_of(identity: dict[str, object], router: Router, item: Item, variant: Variant) -> str:
    """Digest of everything that a record's figures depend on."""
    said: dict[str, object] = {**identity, "item": item.digest, "variant": variant.title}
    if variant.policy:
        snapshot = router.index.snapshot
        said["policy"] = router.policy(variant.policy).version
        said["encoder"] = router.encoder_for(router.policy(variant.policy), variant.policy).name
        scored = [one.rows for one in snapshot.entries.values() if one.rows is not None]
        rows = np.concatenate(scored)
        said["centroids"] = hashlib.sha256(
            in_blocks(rows).tobytes() + snapshot.norms.tobytes()
        ).hexdigest()
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def check_adapters(folder: Path, names: Sequence[str]) -> None:
    """Let a folder through that holds an adapter of every name.

    Raises:
        ScopesError: one is missing.
    """
    for name in names:
        if not (folder / name / WEIGHTS).is_file():
            raise ScopesError(f"{folder} holds no adapter {name!r} ({name}/{WEIGHTS})")


def _routing(folder: Path) -> RoutingData:
    data = read_routing(folder)
    if data is None:
        raise ScopesError(f"{folder} holds no router.json; python -m router.fit makes one")
    return data


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
