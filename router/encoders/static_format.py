"""The folder of a static encoder, read and written.

    config.json          name, base model, digest of its vocabulary, teacher, widths
    vectors.safetensors  codes [V, s] int8, or halves [V, ⌈s / 2⌉] uint8 (two 4-bit codes a byte)
                         scales [V] float16
                         projection [s, w] float16: from the teacher's space to the student's

There is no tokenizer in it: that is the base model's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from router.encoders.token_vectors import LARGEST_CODE, TokenVectors, packed, quantised, unpacked
from router.errors import EncoderFailed

CONFIG = "config.json"
VECTORS = "vectors.safetensors"
FORMAT = "loralloy-static-1"

Arrays = dict[str, npt.NDArray[Any]]
Kind = TypeVar("Kind", bound=np.generic)


class StaticConfig(BaseModel):
    """What ``config.json`` says.

    Attributes:
        format: names this layout.
        name: what centroids made by this encoder are marked with.
        base_model: whose tokenizer the vectors belong to.
        vocabulary_size: tokens V.
        vocabulary_sha256: digest of all tokens and ids.
        teacher: the encoder that was distilled; its centroids can be projected.
        teacher_dimension: width w of the teacher's embeddings.
        dimension: values s of a token's vector.
        bits: of one value, 4 or 8.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    name: str = Field(min_length=1, max_length=200)
    base_model: str = Field(min_length=1, max_length=200)
    vocabulary_size: int = Field(ge=1, le=2**24)
    vocabulary_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    teacher: str = Field(min_length=1, max_length=200)
    teacher_dimension: int = Field(ge=1, le=65536)
    dimension: int = Field(ge=1, le=65536)
    bits: int


@dataclass(frozen=True, slots=True)
class StaticFolder:
    """A folder's content: its config, the token vectors, the projection [s, w]."""

    config: StaticConfig
    vectors: TokenVectors
    projection: npt.NDArray[np.float64]


def read_folder(folder: Path) -> StaticFolder:
    """The content of a folder, checked.

    Raises:
        EncoderFailed: a file is missing or damaged, or the two do not fit each other.
    """
    config = read_config(folder)
    arrays = _read_arrays(folder)
    rows, width = config.vocabulary_size, config.dimension
    if config.bits == 4:
        halves = _array(arrays, "halves", np.uint8, (rows, (width + 1) // 2))
        codes = unpacked(halves, width)
    else:
        codes = _array(arrays, "codes", np.int8, (rows, width))
    scales = _array(arrays, "scales", np.float16, (rows,))
    shape = (width, config.teacher_dimension)
    projection = _array(arrays, "projection", np.float16, shape).astype(np.float64)
    # Written so that NaN fails too.
    if not ((scales >= 0) & (scales <= 1)).all() or not (np.abs(projection) <= 2).all():
        raise EncoderFailed(f"{VECTORS} of {folder.name!r} is damaged: it holds impossible values")
    return StaticFolder(config, TokenVectors.of(codes, scales), projection)


def read_config(folder: Path) -> StaticConfig:
    """What a folder's ``config.json`` says.

    Raises:
        EncoderFailed: it is missing or damaged.
    """
    try:
        config = StaticConfig.model_validate_json((folder / CONFIG).read_bytes())
    except OSError as err:
        raise EncoderFailed(
            f"no static encoder can be loaded from {folder.name!r}: {CONFIG}: {err.strerror};"
            " make one by 'python -m router.distill'"
        ) from err
    except ValidationError as err:
        fault = err.errors()[0]
        field = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise EncoderFailed(
            f"{CONFIG} of {folder.name!r} is no static encoder's: {field}: {fault['msg']}"
        ) from err
    if config.bits not in LARGEST_CODE:
        raise EncoderFailed(f"{CONFIG} of {folder.name!r}: bits must be 4 or 8, not {config.bits}")
    return config


def write_folder(
    folder: Path,
    config: StaticConfig,
    rows: npt.NDArray[np.floating],
    projection: npt.NDArray[np.floating],
) -> StaticFolder:
    """Write rows [V, s] and projection [s, w] in the config's bits; what a reader then gets.

    Raises:
        OSError: the folder cannot be written.
    """
    codes, scales = quantised(rows, config.bits)
    arrays: Arrays = {"scales": scales, "projection": projection.astype(np.float16)}
    arrays |= {"halves": packed(codes)} if config.bits == 4 else {"codes": codes}
    folder.mkdir(parents=True, exist_ok=True)
    # The library writes memory as it lies, whatever an array's strides say.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, folder / VECTORS)
    (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=2) + "\n", "utf-8")
    return read_folder(folder)


def _read_arrays(folder: Path) -> Arrays:
    try:
        arrays: Arrays = load_file(folder / VECTORS)
    except (OSError, SafetensorError) as err:
        reason = "is missing" if not (folder / VECTORS).exists() else f"is damaged: {err}"
        raise EncoderFailed(f"{VECTORS} of {folder.name!r} {reason}") from err
    return arrays


def _array(
    arrays: Arrays, name: str, kind: type[Kind], shape: tuple[int, ...]
) -> npt.NDArray[Kind]:
    array = arrays.get(name)
    if array is None or array.dtype != kind or array.shape != shape:
        found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
        raise EncoderFailed(
            f"{VECTORS} is damaged: {name!r} must be {kind.__name__} {list(shape)}, but is {found}"
        )
    return array
