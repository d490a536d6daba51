"""Was an adapter made for the served base model? What its config's name for it tells.

Names of base models are messy: hub ids, copies of other organisations, folders on the trainer's
machine. What really protects the engine is the check of shapes. So a name is compared by its last
component; a hub id must match, while a folder that says nothing (``./checkpoint-500``) may pass.
"""

import re

from adapters.errors import IncompatibleBase, shown
from adapters.limits import Limits
from adapters.validation.base_model import BaseModelShapes

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_HUB_CACHE = re.compile(r"models--[^/]+?--(?P<name>[^/]+)")


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


def check_base_model(declared: str | None, base: BaseModelShapes, limits: Limits) -> None:
    """Refuse an adapter whose config clearly names another base model.

    Raises:
        IncompatibleBase: it names another one, and ``accept_other_base`` is off.
    """
    if not declared or limits.accept_other_base:
        return
    accepted = {last_component(n) for n in (base.name, *base.aliases, *limits.accepted_bases)}
    is_cached_hub_model = "models--" in declared
    if last_component(declared) in accepted or not (is_hub_id(declared) or is_cached_hub_model):
        return
    raise IncompatibleBase(
        f"the adapter was made for {shown(public_name(declared))}; this server runs {base.name!r}. "
        "If it is the same model under another name, add that name to the accepted base models"
    )
