"""Was an adapter made for the served base model? What its config's name for it tells.

Names of base models are messy: hub ids, copies of other organisations, folders on the trainer's
machine. What really protects the engine is the check of shapes. So a name is compared by its last
component; a hub id must match, while a folder that says nothing (``./checkpoint-500``) may pass.
Who trains on a quantised copy names that one (``unsloth/Llama-3.2-1B-bnb-4bit``): it is taken for
the model that it is a copy of, with a warning.
"""

import re

from adapters.errors import IncompatibleBase, shown
from adapters.limits import Limits
from adapters.validation.base_model import BaseModelShapes

_MAX_CHARACTERS = 200
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_HUB_CACHE = re.compile(r"models--[^/]+?--(?P<name>[^/]+)")

_STORED_AS = re.compile(
    r"""
    (?:[-_.](?:
        unsloth | bnb | gptq | awq | gguf | ggml | exl[23] | hqq\+? | aqlm | eetq | marlin | quip
        | mlx | dwq | onnx | torchao | autoround | auto[-_]round | optimum | quanto | spqr | vptq
        | quanti[sz]ed | quant | dynamic | static | block | channel | kv | hf | safetensors
        | [1-8][-_.]?bits? | [1-8](?:\.[0-9]{1,3})?bpw | h[1-8] | i1 | imatrix | actorder
        | u?int[1-8] | (?:nv|mx)?fp(?:4|6|8|16|32) | f(?:8|16|32) | bf16 | nf4 | e[45]m[23]
        | w[1-8]a(?:8|16) | g(?:32|64|128) | (?:32|64|128)g | [1-8]x(?:8|15|16)
        | i?q[1-8](?:_[01klmsx]+)*
    ))+$
    """,
    re.VERBOSE,
)
"""What publishers of copies put after a model's name: how and by what it was quantised."""


def last_component(name: str) -> str:
    """The part of a base model's name that is compared: its last path component, in lower case."""
    parts = [part for part in re.split(r"[/\\]+", name.strip()) if part]
    for part in parts:
        cached = _HUB_CACHE.fullmatch(part)
        if cached is not None:
            return cached["name"].lower()
    return parts[-1].lower() if parts else ""


def is_hub_id(name: str) -> bool:
    """Whether a name is ``model`` or ``organisation/model`` and so says which model it is."""
    return _HUB_ID.fullmatch(name.strip()) is not None and not name.startswith(".")


def public_name(name: str | None) -> str | None:
    """A base model's name fit to be shown: hub ids whole, of folders the last component."""
    if not name:
        return None
    return name.strip() if is_hub_id(name) else last_component(name) or None


def check_base_model(declared: str | None, base: BaseModelShapes, limits: Limits) -> str | None:
    """Refuse an adapter whose config clearly names another base model.

    Returns:
        A warning where it names a quantised copy of the served one; None otherwise. Whether the
        shapes fit is not looked at here.

    Raises:
        IncompatibleBase: it names another one.
    """
    if not declared:
        return None
    accepted = {last_component(n) for n in (base.name, *base.aliases, *limits.accepted_bases)}
    named = last_component(declared)
    is_cached_hub_model = "models--" in declared
    if named in accepted or not (is_hub_id(declared) or is_cached_hub_model):
        return None
    if _unquantised(named) in {_unquantised(name) for name in accepted}:
        return (
            f"the adapter was trained on {shown(public_name(declared))}, another copy of the base "
            f"model by its name; here it changes {base.name!r}, so answers may differ a little "
            "from those in training"
        )
    raise IncompatibleBase(
        f"the adapter was made for {shown(public_name(declared))}; this server runs {base.name!r}. "
        "If it is the same model under another name, add that name to the setting accepted_bases"
    )


def _unquantised(name: str) -> str:
    """A model's name, in small letters, without the words at its end for how it is stored."""
    if len(name) > _MAX_CHARACTERS:  # of which the pattern would make long work
        return name
    end = _STORED_AS.search(name)
    return name if end is None else name[: end.start()]
