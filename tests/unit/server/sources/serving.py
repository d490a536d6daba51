"""A catalogue without an engine: registry, store, router and slots are real, nothing generates."""

from pathlib import Path

from adapters import AdapterRegistry, BaseModelShapes, Limits
from router.config import default_policies
from router.encoders import Encoder
from router.index import CentroidIndex
from router.router import Router
from server.catalogue import Catalogue
from server.fetching import Fetching
from server.metrics import Metrics
from server.residency import Residency


class NoEngine:
    """What the catalogue needs of an engine: it takes every name, and every adapter."""

    model_name = "tiny-llama"

    def set_models(self, names: object) -> None:
        return

    async def load(self, digest: str, folder: Path) -> None:
        assert folder.name == digest

    async def unload(self, digest: str) -> None:
        return


def make_catalogue(data_dir: Path, base: BaseModelShapes, encoder: Encoder) -> Catalogue:
    """A catalogue with its data in a folder."""
    engine = NoEngine()
    registry = AdapterRegistry(data_dir, base, Limits(), {"auto"})
    residency = Residency(Fetching(engine, registry.store), 4)
    router = Router(encoder, CentroidIndex(), default_policies())
    return Catalogue(engine, router, registry, residency, Metrics())
