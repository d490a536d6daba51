"""What can be wrong with the fields of a request.

InvalidRequest
├── InvalidMixture           a mixture that cannot be read
│   ├── MixtureConflict          two fields say different things
│   ├── EmptyMixture             no adapter is named
│   ├── InvalidWeight            negative, not finite or huge
│   ├── RanksDiffer              a linear combination of unlike ranks
│   └── MixtureTooLarge          more members than the engine has slots
└── all others of this module
"""

from loralloy_client.errors.base import InvalidRequest


class MalformedJson(InvalidRequest):
    """The body is not a JSON object."""

    code = "invalid_json"


class UnsupportedParameter(InvalidRequest):
    """A field that the server does not honour."""

    code = "unsupported_parameter"


class PromptNotText(InvalidRequest):
    """A policy was asked to route what is not text."""

    code = "prompt_not_text"


class InvalidSource(InvalidRequest):
    """The address of a source cannot be read, or does not pin what it names."""

    code = "source_invalid"


class ContextLengthExceeded(InvalidRequest):
    """Prompt and answer are longer than the base model's context."""

    code = "context_length_exceeded"


class InvalidMixture(InvalidRequest):
    """A mixture that cannot be read."""

    code = "mixture_invalid"


class MixtureConflict(InvalidMixture):
    """Two fields of one request say which adapters it gets."""

    code = "mixture_conflict"


class EmptyMixture(InvalidMixture):
    """A mixture that names no adapter."""

    code = "mixture_empty"


class InvalidWeight(InvalidMixture):
    """A weight that is negative, not finite or huge."""

    code = "weight_invalid"


class RanksDiffer(InvalidMixture):
    """A linear combination of adapters of unlike ranks."""

    code = "mixture_ranks_differ"


class MixtureTooLarge(InvalidMixture):
    """More adapters at once than the engine has slots."""

    code = "mixture_too_large"


class InvalidPolicy(InvalidRequest):
    """A policy, or a request's changes to one, are wrong."""

    code = "invalid_policy"


class NoCandidates(InvalidRequest):
    """Include and exclude lists leave no adapter to weigh."""

    code = "no_candidates"


class UnknownAdapterInPolicy(InvalidRequest):
    """A policy, or a request's changes to one, name an adapter that is not there."""

    code = "unknown_adapter_in_policy"


class NoStaticEncoder(InvalidRequest):
    """A policy asks for the static encoder, and the server has none."""

    code = "no_static_encoder"


class InvalidCentroid(InvalidRequest):
    """A centroid that cosines cannot be taken with."""

    code = "invalid_centroid"


class CentroidMismatch(InvalidRequest):
    """A centroid was made by another encoder."""

    code = "centroid_mismatch"


class NoExamples(InvalidRequest):
    """A centroid was asked for from no text at all."""

    code = "no_examples"


class NoCentroid(InvalidRequest):
    """An adapter is named as a candidate that has nothing to be scored by."""

    code = "no_centroid"
