"""Traces in the terminal and as pictures. The server here speaks; nothing generates."""

import copy
import io
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from server.cli.painter import Painter, leader
from server.cli.palette import BASE, COLOURS, GREY, colours
from server.cli.plot_trace import plot_trace
from server.cli.trace_file import MAX_NAMES, read_trace
from server.cli.trouble import Trouble

MATHS, CODE = {"maths": 0.75, "code": 0.25}, {"code": 1.0}


def loralloy(*arguments: str, text: str = "", **environment: str):
    return subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        input=text,
        check=False,
        env={"COLUMNS": "200", "PYTHONPATH": ".", "HOME": "/nonexistent", **environment},
        timeout=60,
    )


def fault(*arguments: str, text: str = "") -> str:
    done = loralloy(*arguments, text=text)
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def mixture(weights: dict[str, float], base_share: float = 0.0) -> dict:
    return {"adapters": weights, "base_share": base_share}


def step(token: int, weights: dict[str, float], base_share: float = 0.0) -> dict:
    return {"token": token, "weights": weights, "base_share": base_share}


TRACE = {
    "object": "trace",
    "id": "r",
    "policy": "auto",
    "scope": "token",
    "stride": 2,
    "adapters": ["code", "maths"],
    "choices": [
        {"index": 0, "prompt": 0, "tokens": 5, "steps": [step(0, MATHS), step(2, CODE)]},
        {"index": 1, "prompt": 0, "tokens": None, "steps": [step(0, {}, 1.0)]},
    ],
}


# --- colours ---


def test_the_first_seven_have_colours_of_their_own():
    names = [f"a{number}" for number in range(9)]
    found = colours([*names, BASE, "a0"])
    assert len({found[name] for name in names[:7]} | {GREY}) == 8
    assert (found["a7"], found["a8"], found[BASE]) == (*COLOURS[:2], GREY)


@pytest.mark.parametrize(
    ("weights", "base_share", "name"),
    [
        (MATHS, 0.0, "maths"),
        ({"code": 0.2, "maths": 0.3}, 0.5, BASE),
        ({}, 1.0, BASE),
        ({"maths": 0.5}, 0.5, "maths"),
    ],
)
def test_the_heaviest_leads(weights, base_share, name):
    assert leader(mixture(weights, base_share)) == name


def painted(terminal: bool, *pieces: tuple[str, dict, int]) -> tuple[str, str]:
    console = Console(
        file=io.StringIO(),
        record=True,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
        width=20,
    )
    painter = Painter(console)
    painter.begin()
    for piece in pieces:
        painter.show(*piece)
    text = console.export_text(styles=terminal)
    console.print(painter.legend(), end="", soft_wrap=True)
    return text, console.export_text(styles=terminal)


def test_each_piece_has_its_leaders_colour_and_the_text_is_whole():
    said = ["  Two", " and [bold]\n", "\n", "", "three" * 10, "."]
    led = [MATHS, CODE, CODE, MATHS, MATHS, CODE]
    pieces = [(text, mixture(weights), 1) for text, weights in zip(said, led, strict=True)]
    raw, legend = painted(True, *pieces)
    assert re.sub(r"\x1b\[[\d;]*m", "", raw) == "".join(said)
    colour = {
        name: "38;2;" + ";".join(str(int(code[i : i + 2], 16)) for i in (1, 3, 5))
        for name, code in zip(("maths", "code"), COLOURS[:2], strict=True)
    }
    assert f"\x1b[{colour['maths']}m  Two" in raw
    assert f"\x1b[{colour['code']}m and [bold]" in raw
    assert f"\x1b[{colour['maths']}mthreethree" in raw
    assert f"\x1b[{colour['code']}m■" in legend
    assert "code 60%" in legend
    assert "of 5 tokens" in legend


def test_without_colours_names_stand_in_the_text():
    raw, legend = painted(
        False,
        ("Two", mixture(MATHS), 1),
        (" and", mixture(MATHS), 3),
        (" three", mixture({}, 1.0), 1),
        ("", mixture(CODE), 1),
        (".", mixture(CODE), 1),
    )
    assert raw == "[maths]Two and[base model] three[code]."
    assert legend == "maths 67%  base model 17%  code 17%  of 6 tokens"


# --- chat ---


def chunk(text: str, *weights: dict[str, float], start: int = 0) -> dict:
    told = {"mixture": {**mixture(weights[0]), "policy": None, "token": start}}
    if len(weights) > 1:
        told["mixtures"] = [step(start + n, each) for n, each in enumerate(weights)]
    return {**told, "choices": [{"index": 0, "delta": {"content": text}}]}


CHUNKS = [
    chunk("", MATHS),
    chunk("Two and", MATHS, MATHS),
    chunk(" [three]", CODE, CODE, CODE, start=2),
    chunk(".", MATHS, start=5),
    {"mixture": {**mixture(MATHS), "policy": None}, "choices": []},
]


@pytest.fixture
def speaker():
    """A server that answers every chat with the same stream, and what it was asked."""
    asked: list[dict] = []

    class Speaker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for value in CHUNKS:
                self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *arguments) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Speaker) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}", asked
        finally:
            serving.shutdown()
            thread.join()


def test_chat_shows_who_leads(speaker):
    url, asked = speaker
    done = loralloy(
        *("chat", "--once", "hello", "--trace", "--scope", "token", "--stride", "2", "--url", url)
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[maths]Two and[code] [three][maths].",
        "maths 50%  code 50%  of 6 tokens",
    ]
    assert asked[0]["routing"] == {"scope": "token", "stride": 2}
    assert asked[0]["stream_options"] == {"include_mixture": True}


def test_chat_has_colours_in_a_terminal(speaker):
    url, _ = speaker
    coloured = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    done = loralloy("chat", "--once", "hello", "--trace", "--url", url, **coloured)
    first, second = done.stdout.splitlines()
    assert re.sub(r"\x1b\[[\d;]*m", "", first) == "Two and [three]."
    assert first.count("\x1b[38;2;") == 3
    assert second.count("■") == 2
    plain = loralloy("chat", "--once", "hello", "--trace", "--url", url, **coloured, NO_COLOR="1")
    assert plain.stdout.startswith("[maths]Two and[code]")


def test_chat_without_it_is_as_before(speaker):
    url, asked = speaker
    done = loralloy("chat", "--once", "hello", "--url", url)
    assert done.stdout.splitlines() == ["Two and [three].", "[maths 0.75 + code 0.25]"]
    assert "routing" not in asked[0]


# --- reading a trace ---


def test_a_trace_is_read_heaviest_first():
    plotted = read_trace(TRACE, 0)
    assert plotted.weights == {"code": (0.25, 1.0), "maths": (0.75, 0.0)}
    assert list(plotted.weights) == ["code", "maths"]
    assert (plotted.starts, plotted.tokens) == ((0, 2), 5)
    assert plotted.title == "policy auto, scope token, stride 2"
    base = read_trace(TRACE, 1)
    assert (base.weights, base.tokens) == ({BASE: (1.0,)}, 1)
    assert read_trace({"mixture": {}, "trace": TRACE}, 0) == plotted


def test_steps_beyond_the_last_token_are_left_out():
    trace = copy.deepcopy(TRACE)
    trace["choices"][0]["tokens"] = 2
    assert read_trace(trace, 0).weights == {"maths": (0.75,), "code": (0.25,)}
    trace["choices"][0]["tokens"] = 0
    assert read_trace(trace, 0).tokens == 1


def test_more_names_than_can_be_told_apart_are_drawn_as_one():
    weights = {f"a{number}": 0.01 * (number + 1) for number in range(20)}
    trace = {"choices": [{"tokens": 3, "steps": [step(0, weights, 0.5)]}]}
    read = read_trace(trace, 0).weights
    assert len(read) == MAX_NAMES + 1
    assert list(read)[-2:] == ["7 others", BASE]
    assert sum(line[0] for line in read.values()) == pytest.approx(sum(weights.values()) + 0.5)


def broken(change) -> dict:
    trace = copy.deepcopy(TRACE)
    change(trace, trace["choices"][0], trace["choices"][0]["steps"])
    return trace


BROKEN = [
    ([], "it must be an object"),
    ({}, "'choices' must be a list"),
    ({"choices": []}, "'choices' must be a list"),
    ({"choices": [3]}, "choices[0] must be an object"),
    ({"trace": 3}, "'trace' must be an object"),
    (broken(lambda t, c, s: c.update(steps=[])), "choices[0].steps"),
    (broken(lambda t, c, s: c.update(tokens="5")), "choices[0].tokens"),
    (broken(lambda t, c, s: c.update(tokens=10**12)), "choices[0].tokens"),
    (broken(lambda t, c, s: s[0].update(token=1)), "begin at token 0"),
    (broken(lambda t, c, s: s[1].update(token=0)), "begin at token 0 and rise"),
    (broken(lambda t, c, s: s[1].update(token=True)), "choices[0].steps[1].token"),
    (broken(lambda t, c, s: s[1].update(weights=[1])), "choices[0].steps[1].weights"),
    (broken(lambda t, c, s: s[1].update(weights={"a": -1})), "steps[1].weights.a"),
    (broken(lambda t, c, s: s[1].update(weights={"a": float("nan")})), "steps[1].weights.a"),
    (broken(lambda t, c, s: s[1].update(weights={"a": 10**400})), "steps[1].weights.a"),
    (broken(lambda t, c, s: s[1].update(weights={"$x": 1})), "something else than a name"),
    (broken(lambda t, c, s: s[1].update(base_share=None)), "steps[1].base_share"),
    (broken(lambda t, c, s: t.update(policy="a\nb")), "policy"),
    (broken(lambda t, c, s: t.update(stride="2")), "stride"),
]


@pytest.mark.parametrize(("document", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_what_is_no_trace_is_told_with_its_place(document, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        read_trace(document, 0)


def test_a_choice_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="there is no choice 2; it has 2"):
        read_trace(TRACE, 2)


# --- plotting ---


@pytest.fixture
def trace_file(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(TRACE))
    return path


def test_a_trace_becomes_a_picture(trace_file):
    done = loralloy("plot-trace", str(trace_file))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{trace_file.with_suffix('.svg')}: 5 tokens\n"
    drawn = trace_file.with_suffix(".svg").read_text()
    for word in (
        "code",
        "maths",
        "generated token",
        "weight",
        "policy auto, scope token, stride 2",
    ):
        assert f">{word}</text>" in drawn
    for colour in COLOURS[:2]:
        assert colour.lower() in drawn


def test_pictures_have_the_asked_form_and_equal_traces_equal_bytes(trace_file):
    from server.cli.figure import draw

    plotted = read_trace(TRACE, 0)
    assert draw(plotted, "png").startswith(b"\x89PNG")
    assert draw(plotted, "pdf").startswith(b"%PDF")
    assert draw(plotted, "svg") == draw(plotted, "svg")
    assert draw(plotted, "svg") != draw(read_trace(TRACE, 1), "svg")
    out = trace_file.with_name("picture.PNG")
    done = loralloy("plot-trace", "-", "--out", str(out), text=trace_file.read_text())
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


def test_areas_beyond_the_seventh_colour_are_hatched():
    from server.cli.figure import draw

    def trace(count: int) -> dict:
        weights = {f"a{number}": 0.05 for number in range(count)}
        return {"choices": [{"tokens": 3, "steps": [step(0, weights)]}]}

    assert b"<pattern" not in draw(read_trace(trace(7), 0), "svg")
    assert b"<pattern" in draw(read_trace(trace(8), 0), "svg")


def test_an_answer_without_any_weight_has_a_picture_too():
    from server.cli.figure import draw

    nothing = {"choices": [{"tokens": 3, "steps": [{"token": 0, "weights": {}}]}]}
    assert draw(read_trace(nothing, 0), "svg").startswith(b"<?xml")


def refused(file: str, **options) -> str:
    with pytest.raises(Trouble) as caught:
        plot_trace(Path(file), options.get("out"), options.get("choice", 0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_faults_are_told_and_leave_no_picture(trace_file, monkeypatch):
    folder = trace_file.parent
    monkeypatch.chdir(folder)
    Path("text.json").write_text("{")
    Path("binary.json").write_bytes(b"\xff\xfe\x00")
    Path("other.json").write_text('{"object": "list"}')
    Path("deep.json").write_text("[" * 100_000)
    files = {path.name for path in folder.iterdir()}
    assert refused("missing.json") == "missing.json cannot be read: No such file or directory"
    for unreadable in (".", "..", str(folder)):
        assert "cannot be read" in refused(unreadable)
    for name in ("text.json", "binary.json", "deep.json"):
        assert refused(name) == f"{name} is not valid JSON"
    assert "no trace that can be drawn: 'choices' must be" in refused("other.json")
    assert "no choice 7" in refused("trace.json", choice=7)
    for out in ("picture.gif", "picture", ".svg"):
        assert "there are .svg, .png, .pdf" in refused("trace.json", out=Path(out))
    assert "cannot be written" in refused("trace.json", out=Path("none/x.svg"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("x"))
    assert refused("-") == "the standard input is not valid JSON"
    assert {path.name for path in folder.iterdir()} == files


def test_a_fault_takes_one_line():
    assert "missing.json cannot be read" in fault("plot-trace", "missing.json")


def test_help_tells_of_traces():
    assert "plot-trace" in loralloy("--help").stdout
    told = loralloy("chat", "--help").stdout
    for option in ("--trace", "--scope", "--stride"):
        assert option in told
