"""What can be wrong with an adapter, as one tree of errors.

    AdapterError
    ├── AdapterNotFound        no adapter of that name
    ├── AdapterExists          the name is taken by other content
    ├── VersionNotFound        the name has no such version
    ├── VersionConflict        the name's version is not the one that was expected
    ├── InvalidName            the name breaks the rule or is reserved
    ├── StorageFailed          the disk refused
    │   └── StorageFull            it has no room left
    ├── UnsupportedBaseModel   the served base model is of a family without known shapes
    └── InvalidAdapter         the upload itself
        ├── UnsafeFile             pickles, links
        │   └── UnsafeArchive      zip-slip, links, encryption, duplicate names
        ├── MalformedFile          truncated or not what it claims to be
        ├── MissingFile            one of the two files is absent
        ├── TooLarge               more bytes or entries than the limits allow
        ├── InvalidConfig          a field of adapter_config.json has no sensible value
        ├── UnsupportedAdapter     a PEFT feature that is more than a plain LoRA
        ├── IncompatibleBase       made for another base model
        ├── UnknownTensor          a tensor that is no LoRA factor
        ├── UnsupportedModule      LoRA on a module that is not served
        ├── LayerOutOfRange        LoRA on a layer that the base model does not have
        ├── TargetMismatch         a tensor that the config does not target
        ├── MissingPair            lora_A without lora_B, or the reverse
        ├── ShapeMismatch          a tensor does not fit its module
        ├── RankMismatch           a tensor's rank is not the config's
        ├── RankTooLarge           the rank exceeds what the engine has room for
        ├── UnsupportedDtype       weights that are not F32, F16 or BF16
        ├── NonFiniteWeights       NaN or infinity
        ├── ExtremeWeights         finite, yet too big to be a trained update
        ├── EmptyAdapter           no LoRA pair at all
        └── InvalidRouting         examples, description or centroid unusable

Every class has a stable ``code``. Messages name files and tensors of the upload, never a path of
this machine. Nothing here knows of HTTP.
"""

from typing import ClassVar

_SHOWN_CHARACTERS = 120


def shown(text: object) -> str:
    """Quote text that came from outside: escaped, and cut to a length fit for a message."""
    plain = str(text)
    if len(plain) > _SHOWN_CHARACTERS:
        plain = plain[:_SHOWN_CHARACTERS] + "…"
    return repr(plain)


class AdapterError(Exception):
    """Root of everything that this package raises on purpose."""

    code: ClassVar[str] = "adapter_error"


class AdapterNotFound(AdapterError):
    """No adapter has this name or digest."""

    code = "adapter_not_found"


class AdapterExists(AdapterError):
    """The name is taken by an adapter with other content."""

    code = "adapter_exists"


class VersionNotFound(AdapterError):
    """The name has, or still has, no version of this digest.

    Attributes:
        field: of a request, which named it; None if none did.
    """

    code = "adapter_version_not_found"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class VersionConflict(AdapterError):
    """Somebody else has changed the name since the caller looked."""

    code = "adapter_version_conflict"


class InvalidName(AdapterError):
    """The name breaks the naming rule or is reserved."""

    code = "adapter_name_invalid"


class StorageFailed(AdapterError):
    """The file system or the database refused."""

    code = "adapter_storage_failed"


class StorageFull(StorageFailed):
    """The disk, or the share of it that the server may use, has no room left."""

    code = "storage_full"


class UnsupportedBaseModel(AdapterError):
    """The shapes of the base model cannot be read from its config.json."""

    code = "base_model_unsupported"


class InvalidAdapter(AdapterError):
    """The upload cannot be served; the subclasses say why."""

    code = "adapter_invalid"


class UnsafeFile(InvalidAdapter):
    """A file of a kind that can run code or point elsewhere."""

    code = "adapter_unsafe_file"


class UnsafeArchive(UnsafeFile):
    """An archive that tries to write elsewhere, or that hides what it holds."""

    code = "adapter_unsafe_archive"


class MalformedFile(InvalidAdapter):
    """A file is truncated or is not of the format that it claims."""

    code = "adapter_malformed"


class MissingFile(InvalidAdapter):
    """adapter_config.json or adapter_model.safetensors is absent."""

    code = "adapter_missing_file"


class TooLarge(InvalidAdapter):
    """More bytes, tensors or entries than the limits allow."""

    code = "adapter_too_large"


class InvalidConfig(InvalidAdapter):
    """A field of adapter_config.json is missing, of the wrong type or out of range."""

    code = "adapter_config_invalid"


class UnsupportedAdapter(InvalidAdapter):
    """The config asks for something that a plain low-rank update cannot express."""

    code = "adapter_unsupported"


class IncompatibleBase(InvalidAdapter):
    """The adapter was made for another base model."""

    code = "adapter_incompatible_base"


class UnknownTensor(InvalidAdapter):
    """A tensor that is neither lora_A nor lora_B of a module."""

    code = "adapter_unknown_tensor"


class UnsupportedModule(InvalidAdapter):
    """LoRA on a module that the engine does not serve."""

    code = "adapter_unsupported_module"


class LayerOutOfRange(InvalidAdapter):
    """LoRA on a layer that the base model does not have."""

    code = "adapter_layer_out_of_range"


class TargetMismatch(InvalidAdapter):
    """A tensor for a module that the config does not target, so that PEFT would ignore it."""

    code = "adapter_target_mismatch"


class MissingPair(InvalidAdapter):
    """One factor of a pair is absent."""

    code = "adapter_missing_pair"


class ShapeMismatch(InvalidAdapter):
    """A tensor does not fit the module that it is for."""

    code = "adapter_shape_mismatch"


class RankMismatch(InvalidAdapter):
    """The rank of a tensor is not the one that the config gives its module."""

    code = "adapter_rank_mismatch"


class RankTooLarge(InvalidAdapter):
    """The rank exceeds what the engine has room for."""

    code = "adapter_rank_too_large"


class UnsupportedDtype(InvalidAdapter):
    """Weights stored as something other than F32, F16 or BF16."""

    code = "adapter_dtype_unsupported"


class NonFiniteWeights(InvalidAdapter):
    """NaN or infinity among the weights; one of them would poison every token of a bank."""

    code = "adapter_not_finite"


class ExtremeWeights(InvalidAdapter):
    """Finite weights so big that they would overflow half precision."""

    code = "adapter_weights_out_of_range"


class EmptyAdapter(InvalidAdapter):
    """Not a single pair of LoRA factors."""

    code = "adapter_empty"


class InvalidRouting(InvalidAdapter):
    """Examples, description or centroid that the router could not use.

    Attributes:
        field: which of them is at fault, if one is.
    """

    code = "adapter_routing_invalid"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
