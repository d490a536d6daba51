"""Held-out losses into the cards of the adapters that they were measured of."""

from collections.abc import Sequence
from pathlib import Path

from adapters.training.errors import TrainingError
from adapters.training.evaluation.models import BASE
from adapters.training.evaluation.report import Report
from adapters.training.run.card import CARD_FILE, Card

HELD_OUT = "held_out"
"""The metric that a card has."""


def check_cards(folders: Sequence[Path]) -> None:
    """Refuse folders that have no card to write into.

    Raises:
        TrainingError: the first such folder.
    """
    for folder in folders:
        if not (folder / CARD_FILE).is_file():
            raise TrainingError(f"--update-cards: {folder} holds no {CARD_FILE}")


def update_cards(folders: Sequence[Path], report: Report) -> None:
    """Write the base model's held-out losses, and the adapter's own, into each adapter's card."""
    base = report.figures[BASE]
    for folder in folders:
        own = report.figures[folder.resolve().name]
        held_out = {
            task: {"base": base[task][HELD_OUT], "adapter": own[task][HELD_OUT]}
            for task in report.tasks
        }
        Card.read(folder).model_copy(update={"held_out": held_out}).write(folder)
