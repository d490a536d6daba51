"""Which branches of the bank's kernel a run of the tests tried."""

from collections.abc import Iterable
from typing import Any

PROPERTY = "kernel branch"
"""Under which a test tells the branch that it ran."""


def summary(reports: Iterable[Any]) -> str:
    """A line on a run's branches; empty if none of its tests asked for one.

    Args:
        reports: pytest's, of the whole run; what is no report of a test says nothing.
    """
    tried = {
        value
        for report in reports
        if getattr(report, "when", None) == "call" and report.passed
        for name, value in report.user_properties
        if name == PROPERTY
    }
    if not tried:
        return ""
    from server.engine.bank.kernels.build import BRANCHES, branches_here

    elsewhere = [branch for branch in BRANCHES if branch not in branches_here()]
    return (
        f"branches of the bank's kernel tried: {', '.join(sorted(tried))}"
        f"; not on this processor: {', '.join(elsewhere) or 'none'}"
    )
