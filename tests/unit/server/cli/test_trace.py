"""Traces in the terminal. The server here speaks; nothing generates."""

import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from server.cli.answer_colours import Painter, leader
from server.cli.plot.palette import BASE, COLOURS, GREY, colours
from tests.support.cli import CODE, MATHS, loralloy, mixture, step

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
    texts = ["  Two", " and [bold]\n", "\n", "", "three" * 10, "."]
    led = [MATHS, CODE, CODE, MATHS, MATHS, CODE]
    pieces = [(text, mixture(weights), 1) for text, weights in zip(texts, led, strict=True)]
    raw, legend = painted(True, *pieces)
    assert re.sub(r"\x1b\[[\d;]*m", "", raw) == "".join(texts)
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
    fields = {"mixture": {**mixture(weights[0]), "policy": None, "token": start}}
    if len(weights) > 1:
        fields["mixtures"] = [step(start + n, each) for n, each in enumerate(weights)]
    return {**fields, "choices": [{"index": 0, "delta": {"content": text}}]}


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
