"""How much an upload may ask for."""

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that every upload is held to, before and while it is read.

    Attributes:
        max_lora_rank: largest rank of any module; the engine's banks have room for no more.
        max_weights_bytes: size of the safetensors file.
        max_header_bytes: size of the header of the safetensors file.
        max_config_bytes: size of ``adapter_config.json``.
        max_ignored_bytes: bytes in an archive that are read past and thrown away.
        max_ignored_ratio: the same for each byte of the archive, in addition.
        max_archive_entries: entries in an archive, folders included.
        max_directory_bytes: size of a zip archive's directory.
        max_abs_weight: largest magnitude of an element of A, and of B times the scaling.
            Trained updates stay below 100; half precision overflows at 65504.
        max_examples: number of example texts kept for the router.
        max_routing_bytes: size of all routing data of an upload as they come, before they are read.
        max_centroids: number of an adapter's centroids; every one costs each look-up.
        max_versions: versions of a name that are kept; older ones go.
        max_example_chars: length of one example or of the description, in characters.
        accepted_bases: further names of the base model that a config may give. Compared by last
            path component, ignoring case.
    """

    max_lora_rank: int = 64
    max_weights_bytes: int = 1024 * _MIB
    max_header_bytes: int = 4 * _MIB
    max_config_bytes: int = _MIB
    max_ignored_bytes: int = 64 * _MIB
    max_ignored_ratio: int = 8
    max_archive_entries: int = 20_000
    max_directory_bytes: int = 8 * _MIB
    max_abs_weight: float = 1e4
    max_examples: int = 10_000
    max_routing_bytes: int = 8 * _MIB
    max_centroids: int = 64
    max_versions: int = 16
    max_example_chars: int = 20_000
    accepted_bases: frozenset[str] = frozenset()
