"""What an answer says of the mixture that made it: a header, a JSON object, and both in streams."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.mixture import Combination, Mixture
from router.router import Following, RouteDecision
from server.envelope import translate

HEADER = "X-Loralloy-Mixture"
MAX_HEADER_CHARS = 1024
_EVENT_END = b"\n\n"
_DATA_OBJECT = b"data: {"
_DATA_ERROR = b'data: {"error"'


@dataclass(frozen=True, slots=True)
class Applied:
    """The mixture of one prompt, and the router's decision where a policy made it."""

    mixture: Mixture
    decision: RouteDecision | None = None

    @property
    def following(self) -> Following | None:
        """How the weights follow the answer; None if they stay."""
        return None if self.decision is None else self.decision.following

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of every adapter that the answer may use."""
        if self.following is not None:
            return tuple(self.following.reweighing.snapshot.known.items())
        return tuple((member.name, member.digest) for member in self.mixture.members)

    @property
    def combination(self) -> Combination:
        """How its adapters are combined."""
        if self.following is not None:
            return self.following.reweighing.config.combination
        return self.mixture.combination

    def as_json(self) -> dict[str, Any]:
        """The ``mixture`` object of an answer; where weights follow it, those at the prompt."""
        mixture = self.mixture
        told: dict[str, Any] = {
            "adapters": mixture.weights,
            "base_share": 1.0 if mixture.is_base else mixture.base_share,
            "combination": mixture.combination,
            "policy": mixture.policy,
            "policy_version": mixture.policy_version,
            "scope": "prompt",
        }
        if self.following is not None:
            told |= {"scope": self.following.scope, "stride": self.following.stride}
        if self.decision is not None:
            told["scores"] = {k: round(v, 4) for k, v in self.decision.scores.items()}
            told["fallback"] = self.decision.fallback
        return told

    def as_header(self) -> str:
        """``maths=0.7;code=0.3, combination=cat, policy=auto@1a2b3c``; ``base=1`` for the base."""
        mixture = self.mixture
        shares = [f"{name}={weight:g}" for name, weight in mixture.weights.items()]
        if mixture.is_base:
            shares = ["base=1"]
        elif mixture.base_share:
            shares.append(f"base={mixture.base_share:g}")
        facts = [f"combination={mixture.combination}"]
        if mixture.policy is not None:
            facts.append(f"policy={mixture.policy}@{mixture.policy_version}")
        rest = ", ".join(["", *facts])
        while len(";".join(shares)) + len(rest) > MAX_HEADER_CHARS:
            shares = [*shares[: len(shares) // 2], "..."]
        return ";".join(shares) + rest


class Report:
    """All that one answer tells: one :class:`Applied` for each prompt."""

    def __init__(self, applied: Sequence[Applied], *, in_chunks: bool, choices: int) -> None:
        """Prepare what goes into every chunk.

        Args:
            applied: what each prompt got.
            in_chunks: whether each streamed chunk is to carry it.
            choices: answers to each prompt (``n``).
        """
        self._applied = applied
        self._in_chunks = in_chunks
        self._choices = max(1, choices)
        self._prefixes = [
            b'data: {"mixture": ' + _dumped(one.as_json()) + b", " for one in applied
        ] * in_chunks
        self._partial = b""

    @property
    def header(self) -> str:
        """The header's value; of several prompts it tells the first one's and their number."""
        first = self._applied[0].as_header()
        return first if len(self._applied) == 1 else f"{first}, prompts={len(self._applied)}"

    def in_body(self, body: bytes) -> bytes:
        """Add the mixture to a JSON object."""
        if not body.startswith(b"{") or not body.endswith(b"}") or len(body) <= len(b"{}"):
            return body
        told = [one.as_json() for one in self._applied]
        added = b', "mixture": ' + _dumped(told[0])
        if len(told) > 1:
            added += b', "mixtures": ' + _dumped(told)
        return body[:-1] + added + b"}"

    def in_stream(self, piece: bytes) -> bytes:
        """Rewrite the events that a piece of a stream completes; the rest waits for the next."""
        whole, end, self._partial = (self._partial + piece).rpartition(_EVENT_END)
        if not end:
            return b""
        if not self._in_chunks and b'{"error"' not in whole:
            return whole + end
        return _EVENT_END.join(self._event(event) for event in whole.split(_EVENT_END)) + end

    def rest(self) -> bytes:
        """What an ended stream left incomplete."""
        left, self._partial = self._partial, b""
        return left

    def _event(self, event: bytes) -> bytes:
        lines = event.split(b"\n")
        return b"\n".join(self._line(line) for line in lines)

    def _line(self, line: bytes) -> bytes:
        if line.startswith(_DATA_ERROR):
            return _error_line(line)
        if not self._in_chunks or not line.startswith(_DATA_OBJECT):
            return line
        prefix = self._prefixes[0]
        if len(self._prefixes) > 1:
            prefix = self._prefixes[self._prompt_of(line)]
        return prefix + line.removeprefix(_DATA_OBJECT)

    def _prompt_of(self, line: bytes) -> int:
        """Choices are numbered prompt by prompt, ``n`` for each."""
        chunk = json.loads(line.removeprefix(b"data: "))
        choices = chunk.get("choices") or [{}]
        index = int(choices[0].get("index", 0))
        return min(index // self._choices, len(self._prefixes) - 1)


def stream_error(status: int, message: str) -> bytes:
    """The event that ends a stream which cannot go on."""
    return b"data: " + _dumped(translate({"message": message}, status)) + _EVENT_END


def _error_line(line: bytes) -> bytes:
    """An error that vLLM put into a stream, in our envelope."""
    try:
        error = json.loads(line.removeprefix(b"data: "))["error"]
    except (ValueError, KeyError, TypeError):
        return line
    foreign = error if isinstance(error, Mapping) else {"message": str(error)}
    code = foreign.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    return b"data: " + _dumped(translate(foreign, status))


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()
