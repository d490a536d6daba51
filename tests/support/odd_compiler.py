"""A process of compilations whose jobs do what they are told: end, go on for ever, die.

Its jobs play libraries at their worst; the process around them is the real one.
"""

import os
from typing import Any

from server.engine.structured.trial import Verdict


class OddCompiler:
    """Does what a constraint says."""

    def try_out(self, constraint: dict[str, Any]) -> Verdict:
        """Do it; the processor time of what never ends is bounded by who asks."""
        match constraint["do"]:
            case "loop":
                while True:
                    pass
            case "eat":
                bytearray(2**40)
            case "abort":
                os.abort()
            case "raise":
                raise LookupError("what nobody expects")
            case "print":
                os.write(1, b'{"number": 1, "outcome": "fits"}\n')
        return Verdict("fits", str(os.getppid()), constraint, "odd", constraint.get("size", 1))


def make(told: dict[str, Any]) -> OddCompiler:
    """Make one, whatever it is told."""
    return OddCompiler()


def fail(told: dict[str, Any]) -> OddCompiler:
    """Make none."""
    raise SystemExit(1)
