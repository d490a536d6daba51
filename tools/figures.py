"""Holds the figures that documentation quotes to the committed results.

    python -m tools.figures

A *figure* is what may have been measured: a number with a unit (seconds, %, MB, tokens a second,
nats, "times" and their like, also in words: "seven times", "half a minute", "twice"), a number that
is joined to one of these ("41 to 55 ms", "100, 96 and 97 %"), a number with a fraction, and each
number of a table's cell that holds numbers alone, but for the first column. Versions ("vLLM 0.32"),
numbers of papers and whatever stands in code are none.

Each figure is accounted for in a comment, which Markdown does not show, below it and before the
figures of the next such comment:

    <!-- figures
    benchmarks/results/engine.json
    6.52 = aims > decode of eight mixtures / stock LoRA, one adapter
    0.90 0.70 = ratios > in one process > eight distinct 4-way mixtures > {decode, 8; decode, 16}
    26 = residents > share that found its adapter in a slot × 100
    settings: 13 ten
    -->

A path names the file of the lines below it. A key goes down a JSON file by members; in a list it
picks the entries one of whose values it is, until one is left. Braces stand for several keys, one
for each figure. What was measured must equal the figure at the digits that are written.
``settings`` are numbers that no run decides: settings, definitions, bounds, aims. A decision
record (``docs/adr/``) may also have ``not kept``: figures of a run that was not kept, which the
record then says in so many words.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

NOT_KEPT = "not kept"
_WORDS: dict[str, int | Decimal] = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8},
    **{"nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20},
    **{"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60},
    **{"hundred": 100, "thousand": 1000, "twice": 2, "half": Decimal("0.5")},
    **{"quarter": Decimal("0.25")},
}
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e-?\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w.:/=@])(?<!\d,)(?<!\w-)(?P<sign>[-−+]?)(?P<digits>{_DIGITS})(?![\w]|[.:]\d|-\w|/\d)"
)
_UNIT = re.compile(
    r"\s?(?:%|×|(?:CPU )?(?:(?:micro|milli)?seconds?|minutes?|hours?|days?|min|µs|ms|s|h)\b"
    r"|[KMGT]i?B\b|times\b|tokens?/s\b|tokens a second\b|nats?\b|[GT]FLOPS?\b)"
)
_JOIN = re.compile(r"\s?(?:,|;|–|to|and|or|, and)\s?")
_WORD = re.compile(
    rf"\b(?P<word>{'|'.join(word for word in _WORDS if word != 'twice')})(?: of)?(?: an?)?"
    r"(?= (?:CPU )?(?:(?:micro|milli)?seconds?|minutes?|hours?|days?|times)\b)"
    r"|\b(?P<twice>twice)\b",
    re.IGNORECASE,
)
_VERSIONED = re.compile(
    r"(?:arXiv|vLLM|Python|PEFT|PostgreSQL|[Vv]ersion|torch|transformers|lm-eval|TRL|Debian's|BY-NC"
    r"|since|macOS)(?: \d[\d.]*,? (?:to|and|or))? $"
)
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)[^`\n]+?\1")
_TARGET = re.compile(r"(?<=\])\([^)\s]*(?:\s\"[^\"]*\")?\)|https?://\S+")
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4,}.*)?\n)*? {4,}.*(?:\n(?: {4,}.*)?)*")
_LETTERS = re.compile(r"[^\W\d_]+")
_PLAIN = frozenset({"to", "ms", "s", "µs", "of", "and", "million", "e", "MB", "GB", "yes", "no"})


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as it is written, where it stands, and whether the rule makes a figure of it."""

    text: str
    place: int
    measured: bool


@dataclass
class Account:
    """What one comment accounts for.

    Attributes:
        sources: figure as written, file, key, factor.
        free: figures that need no source: settings, and in a decision record those not kept.
        not_kept: of these, the latter.
        faults: what cannot be read.
    """

    sources: list[tuple[str, str, str, Decimal]] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    not_kept: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Every figure that is accounted for."""
        return [text for text, *_ in self.sources] + self.free


def main() -> int:
    """Check README and ``docs``; prints each fault, and returns 1 if there was one."""
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    tracked = set(_git("ls-files", "-z").split("\0"))
    documents = sorted(
        name for name in tracked if name == "README.md" or re.fullmatch(r"docs/.*\.md", name)
    )
    faults = [
        f"{name}:{fault}"
        for name in documents
        for fault in faults_of((root / name).read_text("utf-8"), name, Results(root, tracked))
    ]
    print(
        "\n".join(faults) if faults else f"{len(documents)} documents: every figure has its source"
    )
    return 1 if faults else 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


class Results:
    """The committed result files."""

    def __init__(self, root: Path, tracked: set[str]) -> None:
        self._root = root
        self._tracked = tracked

    def value(self, file: str, key: str) -> Decimal:
        """The number at a key.

        Raises:
            LookupError: there is no such file or key, or what is there is no number.
        """
        if file not in self._tracked:
            raise LookupError(f"no tracked file {file!r}")
        found: object = json.loads((self._root / file).read_text("utf-8"), parse_float=Decimal)
        for step in key.split(" > "):
            found = _step(found, step.strip(), f"{file}: {key!r}")
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if isinstance(found, bool) or not isinstance(found, int | Decimal):
            raise LookupError(f"{file}: {key!r} is no number")
        return Decimal(found)


def _step(found: object, step: str, where: str) -> object:
    """One step down: a member, or the entries of a list that have this value."""
    if isinstance(found, list):
        picked = [
            entry
            for entry in found
            if isinstance(entry, dict) and step in {str(value) for value in entry.values()}
        ]
        if picked:
            return picked
        if len(found) == 1 and isinstance(found[0], dict):
            found = found[0]
        elif step.isdecimal() and int(step) < len(found):
            return found[int(step)]
    if isinstance(found, dict) and step in found:
        return found[step]
    raise LookupError(f"{where} has no {step!r}")


def faults_of(text: str, name: str, results: Results) -> Iterator[str]:
    """What is wrong with the figures of a document, each as ``line: what``."""
    is_record = name.startswith("docs/adr/")
    prose = _prose(text)
    figures = list(_figures(prose))
    begin = 0
    for comment in _COMMENT.finditer(text):
        if not comment[1].lstrip().startswith("figures"):
            continue
        account = _read(comment[1].strip().removeprefix("figures"))
        stretch = [figure for figure in figures if begin <= figure.place < comment.start()]
        begin = comment.end()
        line = _line(text, comment.start())
        if account.not_kept and not (is_record and NOT_KEPT in " ".join(prose.split())):
            account.faults.append(
                f"only a decision record that says {NOT_KEPT!r} may quote a run that was not kept"
            )
        yield from (f"{line}: {fault}" for fault in account.faults)
        yield from _unlike(text, stretch, account, line)
        yield from _untrue(account, results, line)
    yield from _unlike(text, [f for f in figures if f.place >= begin], Account(), 0)


def _unlike(text: str, stretch: Sequence[Figure], account: Account, line: int) -> Iterator[str]:
    """Figures without an account, and accounts without a figure."""
    left = Counter(account.texts)
    for figure in sorted(stretch, key=lambda figure: not figure.measured):
        if left[figure.text]:
            left[figure.text] -= 1
        elif figure.measured:
            yield f"{_line(text, figure.place)}: no source is named for the figure {figure.text}"
    for quoted in (+left).elements():
        yield f"{line}: no figure {quoted} stands above"


def _untrue(account: Account, results: Results, line: int) -> Iterator[str]:
    """Figures that are not what was measured."""
    for quoted, file, key, factor in account.sources:
        try:
            value = results.value(file, key) * factor
        except LookupError as error:
            yield f"{line}: {quoted}: {error.args[0]}"
            continue
        if not _equals(quoted, value):
            yield f"{line}: {quoted} is {value:.6g} in {file}: {key}"


def _equals(quoted: str, value: Decimal) -> bool:
    """Whether a value, rounded to the digits that are written, is the figure."""
    written = value_of(quoted)
    exponent = written.as_tuple().exponent
    if not isinstance(exponent, int):  # no number
        return False
    unit = Decimal(1).scaleb(exponent)
    rounded = {value.quantize(unit, rounding) for rounding in (ROUND_HALF_EVEN, ROUND_HALF_UP)}
    return written in rounded


def value_of(text: str) -> Decimal:
    """The number that a figure says: ``−0.70``, ``1,850``, ``seven``."""
    word = _WORDS.get(text)
    return Decimal(text.replace(",", "").replace("−", "-")) if word is None else Decimal(word)


def _read(comment: str) -> Account:
    account = Account()
    file = ""
    for line in (line.strip() for line in comment.splitlines()):
        figures, equals, key = line.partition(" = ")
        kind, colon, rest = line.partition(": ")
        if not line:
            continue
        if equals:
            key, _, factor = key.partition(" × ")
            keys = _expanded(key)
            if len(keys) != len(figures.split()) or not file:
                account.faults.append(f"one file and one key for each figure: {line}")
                continue
            for figure, one in zip(figures.split(), keys, strict=True):
                account.sources.append((figure, file, one, Decimal(factor or 1)))
        elif colon and kind in ("settings", NOT_KEPT):
            account.free += rest.split()
            account.not_kept += rest.split() if kind == NOT_KEPT else []
        elif line.endswith(".json"):
            file = line
        else:
            account.faults.append(f"neither a file, nor figures and a key, nor settings: {line}")
    return account


def _expanded(key: str) -> list[str]:
    """``a > {b; c}`` as ``a > b`` and ``a > c``."""
    match = re.search(r"\{([^{}]*)\}", key)
    if match is None:
        return [key]
    parts = [part.strip() for part in match[1].split(";")]
    return [
        one for part in parts for one in _expanded(key[: match.start()] + part + key[match.end() :])
    ]


def _prose(text: str) -> str:
    """The text with what is no prose blanked out, every character in its place."""
    for pattern in (_COMMENT, _FENCE, _INDENTED, _CODE, _TARGET):
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return text


def _figures(prose: str) -> Iterator[Figure]:
    """All numbers of a prose, the measured ones marked."""
    tabled = _tabled(prose)
    found: list[Figure] = []
    after: re.Match[str] | None = None
    for number in reversed(list(_NUMBER.finditer(prose))):
        joined = (
            after and found[-1].measured and _JOIN.fullmatch(prose, number.end(), after.start())
        )
        before = prose[max(0, number.start() - 40) : number.start()]
        own = bool(
            _UNIT.match(prose, number.end())
            or tabled[number.start()]
            or (re.search(r"[.e]", number["digits"]) and not _VERSIONED.search(before))
        )
        sign = number["sign"].replace("+", "")
        found.append(Figure(sign + number["digits"], number.start(), own or bool(joined)))
        after = number
    yield from reversed(found)
    for word in _WORD.finditer(prose):
        yield Figure((word["word"] or word["twice"]).lower(), word.start(), measured=True)


def _tabled(prose: str) -> list[bool]:
    """For each character, whether it is of a table's cell of numbers, first columns aside."""
    marks = [False] * (len(prose) + 1)
    place = 0
    row = 0
    for line in prose.splitlines(keepends=True):
        row = row + 1 if line.startswith("|") else 0
        if row > 2:
            cell_begin = line.index("|", 1) + 1 if "|" in line[1:] else len(line)
            for cell in line[cell_begin:].split("|"):
                numeric = not set(_LETTERS.findall(cell)) - _PLAIN
                for offset in range(len(cell)):
                    marks[place + cell_begin + offset] = numeric
                cell_begin += len(cell) + 1
        place += len(line)
    return marks


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


if __name__ == "__main__":
    sys.exit(main())
