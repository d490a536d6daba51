"""What can be wrong with an adapter that is pushed.

InvalidRequest
├── InvalidName              the name breaks the rule or is reserved
└── InvalidAdapter           the upload itself
    ├── UnsafeFile               pickles, links
    │   └── UnsafeArchive            zip-slip, links, encryption, duplicate names
    ├── TooLarge                 also a BodyTooLarge: its status is 413
    └── all others of this module
"""

from loralloy_client.errors.base import BodyTooLarge, InvalidRequest


class InvalidName(InvalidRequest):
    """The adapter's name breaks the naming rule or is reserved."""

    code = "adapter_name_invalid"


class InvalidAdapter(InvalidRequest):
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


class TooLarge(InvalidAdapter, BodyTooLarge):
    """More bytes, tensors or entries than the server takes."""

    code = "adapter_too_large"


class InvalidConfig(InvalidAdapter):
    """A field of adapter_config.json is missing, of the wrong type or out of range."""

    code = "adapter_config_invalid"


class UnsupportedAdapter(InvalidAdapter):
    """The config asks for more than a plain low-rank update."""

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
    """A tensor for a module that the config does not target."""

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
    """NaN or infinity among the weights."""

    code = "adapter_not_finite"


class ExtremeWeights(InvalidAdapter):
    """Finite weights too big to be a trained update."""

    code = "adapter_weights_out_of_range"


class EmptyAdapter(InvalidAdapter):
    """Not a single pair of LoRA factors."""

    code = "adapter_empty"


class InvalidRouting(InvalidAdapter):
    """Examples, description or centroids that the router could not use."""

    code = "adapter_routing_invalid"
