"""What was measured, item by item, in a file that only grows: a run that broke off goes on."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Distance(BaseModel):
    """How far the next-token distributions q of one scope are from p of ``recompute``.

    ``kl`` is Σ_t KL(p_t ‖ q_t) in nats, ``changed`` at how many steps the likeliest token differs.
    """

    model_config = ConfigDict(frozen=True)

    kl: float
    changed: int


class Record(BaseModel):
    """One item under one variant.

    Attributes:
        key: digest of everything that the figures depend on, the item's tokens among it.
        tokens: the answer's tokens.
        loss: Σ_t −log p of them, in nats.
        own: mean weight of the task's own adapter over the answer's steps; routed variants only.
        leads: at how many steps it is the heaviest.
        distance: from ``recompute``, by scope (``prompt``, ``token``); its records only.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    task: str
    number: int
    variant: str
    tokens: int
    loss: float
    own: float | None = None
    leads: int | None = None
    distance: dict[str, Distance] = {}


class Records:
    """The records of a JSON Lines file by key; a line that broke off is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Record] = {}
        text = path.read_text("utf-8") if path.is_file() else ""
        for line in text.splitlines():
            try:
                record = Record.model_validate_json(line)
            except ValidationError:
                continue
            self._found[record.key] = record
        self._broken = bool(text) and not text.endswith("\n")

    def get(self, key: str) -> Record | None:
        """The record of that key, if it is there."""
        return self._found.get(key)

    def add(self, records: list[Record]) -> None:
        """Write further records, all of an item at once."""
        lines = "".join(record.model_dump_json(exclude_none=True) + "\n" for record in records)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._broken + lines)
        self._broken = False
        self._found.update({record.key: record for record in records})
