"""Which base model and which encoder a server works with; the defaults are prepared."""

import os
from dataclasses import dataclass
from pathlib import Path

from router.errors import NoStaticEncoder
from router.policies import PolicyConfig
from server.errors import InvalidSettings
from server.prepare import base_model_path, encoder_path, prepare
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class ModelSources:
    """Where the models come from.

    Attributes:
        model: folder of the base model.
        model_name: its name on the wire.
        encoder: folder or hub name of the encoder.
        static_encoder: folder or name of the static encoder for the base model, if there is one.
        hub: whether a hub may be asked.
    """

    model: Path
    model_name: str
    encoder: str
    static_encoder: str | None
    hub: bool


def names_on_hub(settings: Settings) -> list[str]:
    """Which of the models are to come from a hub.

    Raises:
        InvalidSettings: what is named can only be a folder, and there is none.
    """
    named = (settings.engine.model, settings.encoder)
    on_hub = [name for name in named if name and not Path(name).expanduser().is_dir()]
    for name in on_hub:
        if name.startswith(("/", ".", "~")):
            raise InvalidSettings(f"there is no folder {name}")
    return on_hub


def find_sources(settings: Settings) -> ModelSources:
    """Find the base model and the encoder; prepare the defaults that are asked for.

    Raises:
        PrepareError: a default could not be prepared.
        InvalidSettings: a named model is neither a folder nor on a hub.
    """
    model, encoder = settings.engine.model, settings.encoder
    on_hub = names_on_hub(settings)
    if not on_hub:
        # Read when a library of the hub is imported, and nothing has imported one yet.
        os.environ["HF_HUB_OFFLINE"] = "1"
    if model is None or encoder is None:
        prepare()
    folder = base_model_path() if model is None else Path(model).expanduser()
    if model is not None and model in on_hub:
        folder = _download(model)
    name = folder.absolute().name if model is None or model not in on_hub else model
    from router.encoders.static import bundled_for

    static = settings.static_encoder
    return ModelSources(
        model=folder,
        model_name=name,
        encoder=encoder or str(encoder_path()),
        static_encoder=str(static) if static is not None else bundled_for(folder),
        hub=bool(on_hub),
    )


def check_encoders(policies: dict[str, PolicyConfig], sources: ModelSources) -> None:
    """Refuse now what the router would refuse once the engine has started."""
    for name, policy in policies.items():
        if policy.encoder == "static" and sources.static_encoder is None:
            raise NoStaticEncoder(name, Path(sources.encoder).name)


def _download(model: str) -> Path:
    """The local copy of a hub model."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, ignore_patterns=["*.bin", "*.pth", "*.gguf"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidSettings(
            f"{model!r} is not a folder, and could not be downloaded from the hub: {reason}"
        ) from None
