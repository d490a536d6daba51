"""LoRA weights on disk: format, validation, conversion, store, registry.

An upload goes ``unpack_archive`` or ``place_files`` → ``AdapterRegistry.add``, which validates it
against the base model's shapes, stores its canonical form under its digest and names it. An adapter
that the registry returns can be loaded as it is: everything that the engine does not check holds.
"""

from adapters.adapter import Adapter, RoutingData
from adapters.archive import Unpacked, place_files, unpack_archive
from adapters.database.records import Problem
from adapters.errors import (
    AdapterError,
    AdapterExists,
    AdapterNotFound,
    EmptyAdapter,
    ExtremeWeights,
    IncompatibleBase,
    InvalidAdapter,
    InvalidConfig,
    InvalidName,
    InvalidRouting,
    LayerOutOfRange,
    MalformedFile,
    MissingFile,
    MissingPair,
    NonFiniteWeights,
    RankMismatch,
    RankTooLarge,
    ShapeMismatch,
    StorageFailed,
    TargetMismatch,
    TooLarge,
    UnknownTensor,
    UnsafeArchive,
    UnsafeFile,
    UnsupportedAdapter,
    UnsupportedBaseModel,
    UnsupportedDtype,
    UnsupportedModule,
    VersionConflict,
    VersionNotFound,
)
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.peft_config import LoraConfigFacts
from adapters.format.peft_format import module_scalings, scalings
from adapters.limits import Limits
from adapters.names import NAME_PATTERN, RESERVED_NAMES, check_name
from adapters.registry.registry import AdapterRegistry
from adapters.store import AdapterStore
from adapters.validation.base_model import KNOWN_ARCHITECTURES, BaseModelShapes, read_base_model
from adapters.validation.validate import AdapterFacts, validate

__all__ = [
    "CONFIG_FILE",
    "KNOWN_ARCHITECTURES",
    "NAME_PATTERN",
    "RESERVED_NAMES",
    "WEIGHTS_FILE",
    "Adapter",
    "AdapterError",
    "AdapterExists",
    "AdapterFacts",
    "AdapterNotFound",
    "AdapterRegistry",
    "AdapterStore",
    "BaseModelShapes",
    "EmptyAdapter",
    "ExtremeWeights",
    "IncompatibleBase",
    "InvalidAdapter",
    "InvalidConfig",
    "InvalidName",
    "InvalidRouting",
    "LayerOutOfRange",
    "Limits",
    "LoraConfigFacts",
    "MalformedFile",
    "MissingFile",
    "MissingPair",
    "NonFiniteWeights",
    "Problem",
    "RankMismatch",
    "RankTooLarge",
    "RoutingData",
    "ShapeMismatch",
    "StorageFailed",
    "TargetMismatch",
    "TooLarge",
    "UnknownTensor",
    "Unpacked",
    "UnsafeArchive",
    "UnsafeFile",
    "UnsupportedAdapter",
    "UnsupportedBaseModel",
    "UnsupportedDtype",
    "UnsupportedModule",
    "VersionConflict",
    "VersionNotFound",
    "check_name",
    "module_scalings",
    "place_files",
    "read_base_model",
    "scalings",
    "unpack_archive",
    "validate",
]
