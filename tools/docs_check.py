"""Checks what prose and tracked files promise: ``python -m tools.docs_check``.

Relative links and anchors of every Markdown file lead somewhere. A file of ours, or a folder of
tests, that stands in code marks is there, by its path or by the end of it; so is what a drawing
(mermaid) calls by a path, with or without its ending. The README stays short, comments aside.
No tracked text names a path of somebody's machine or an address of a package registry, or ends a
line in blanks.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

README_LINES = 200
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
# Folders of tests alone: of others docs also name those of users, and those that are to come.
_CODE_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|h|cpp|jinja|yaml|sh)|tests/(?:[\w.-]+/)+)`")
_DRAWING = re.compile(r"^```mermaid\n.*?^```", re.MULTILINE | re.DOTALL)
_DRAWN = re.compile(r"\[((?:[\w.-]+/)+[\w.-]*)(?=[<\]])")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_EXPLICIT_ANCHOR = re.compile(r"""<a\s+(?:id|name)=["']([^"']+)["']""")
# Written in halves, so that this file does not report itself.
_FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w./])/(?:" + "|".join(["ro" + "ot", "wo" + "rk", "Us" + "ers"]) + r")/\w",
            r"(?<![\w./~])/ho" + r"me/(?!user\b|ann\b)\w",  # two names that examples may use
            r"/tm" + r"p/\w",
            "pypi" + r"\.org",
            "python" + "hosted",
            r"download\.py" + "torch",
            r"registry\.npm" + "js",
            r"deb\.deb" + "ian",
        ]
    )
)


def main() -> int:
    """Print every fault as ``file:line: what``; the exit status is 1 if there was one."""
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    tracked = [root / name for name in _git("ls-files", "-z").split("\0") if name]
    texts = {path: text for path in tracked if (text := _text_of(path)) is not None}
    names = [f"/{path.relative_to(root)}" for path in tracked]
    faults = [
        f"{path.relative_to(root)}:{fault}"
        for path, text in texts.items()
        for fault in [*_line_faults(text), *_markdown_faults(path, text, names)]
    ]
    readme = _COMMENT.sub("", texts.get(root / "README.md", ""))
    if (length := len(readme.splitlines())) > README_LINES:
        faults.append(f"README.md:{length}: longer than {README_LINES} lines")
    print("\n".join(faults) if faults else f"{len(texts)} files: nothing to mend")
    return 1 if faults else 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def _text_of(path: Path) -> str | None:
    """The text of a tracked file; None if it is binary, or deleted in the working tree."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
        return None


def _line_faults(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _FORBIDDEN.search(line):
            yield f"{number}: machine path or registry address: {found[0]}"
        if line != line.rstrip(" \t"):
            yield f"{number}: blanks at the end of the line"


def _markdown_faults(path: Path, text: str, tracked: Sequence[str]) -> Iterator[str]:
    if path.suffix != ".md":
        return
    unfenced = _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    yield from _name_faults(unfenced, tracked)
    yield from _drawing_faults(text, tracked)
    yield from _link_faults(path, _INLINE_CODE.sub("", unfenced))


def _name_faults(unfenced: str, tracked: Sequence[str]) -> Iterator[str]:
    """What stands in code marks and is not there."""
    for match in _CODE_FILE.finditer(unfenced):
        ending = f"/{match[1].removeprefix('../')}"
        if not any(
            ending in name if ending.endswith("/") else name.endswith(ending) for name in tracked
        ):
            yield f"{_line(unfenced, match.start())}: no file or folder of this name: {match[1]}"


def _drawing_faults(text: str, tracked: Sequence[str]) -> Iterator[str]:
    """Paths in drawings that are not there."""
    for drawing in _DRAWING.finditer(text):
        for match in _DRAWN.finditer(drawing[0]):
            beginning = f"/{match[1]}"
            ends = ("",) if beginning.endswith("/") else ("/", ".")
            if not any(name.startswith(beginning + end) for name in tracked for end in ends):
                line = _line(text, drawing.start() + match.start())
                yield f"{line}: no file or folder of this name: {match[1]}"


def _link_faults(path: Path, prose: str) -> Iterator[str]:
    """Relative links of a file that lead nowhere."""
    for match in _LINK.finditer(prose):
        target = unquote(match[1])
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        line = _line(prose, match.start())
        file_part, _, anchor = target.partition("#")
        file = path if not file_part else (path.parent / file_part).resolve()
        if not file.exists():
            yield f"{line}: link to a file that does not exist: {target}"
        elif anchor and file.suffix == ".md" and anchor not in anchors_of(file):
            yield f"{line}: link to an anchor that does not exist: {target}"


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def anchors_of(file: Path) -> set[str]:
    """The anchors of a Markdown file: explicit ones, and its headings as GitHub spells them."""
    text = _FENCE.sub("", file.read_text(encoding="utf-8"))
    anchors = set(_EXPLICIT_ANCHOR.findall(text))
    for heading in _HEADING.findall(text):
        words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        repeats = sum(1 for anchor in anchors if re.fullmatch(re.escape(slug) + r"(-\d+)?", anchor))
        anchors.add(f"{slug}-{repeats}" if repeats else slug)
    return anchors


if __name__ == "__main__":
    sys.exit(main())
