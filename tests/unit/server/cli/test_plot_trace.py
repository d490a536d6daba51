"""Traces as pictures."""

import copy
import io
import json
import re
import sys
from pathlib import Path

import pytest

from server.cli.messages import CommandError
from server.cli.plot.palette import BASE, COLOURS
from server.cli.plot.trace_file import MAX_NAMES, read_trace
from server.cli.plot_trace import plot_trace
from tests.support.cli import TRACE, fault, loralloy, step

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
    (broken(lambda t, c, s: s[1].update(weights={"$x": 1})), "something other than a name"),
    (broken(lambda t, c, s: s[1].update(base_share=None)), "steps[1].base_share"),
    (broken(lambda t, c, s: t.update(policy="a\nb")), "policy"),
    (broken(lambda t, c, s: t.update(stride="2")), "stride"),
]


@pytest.mark.parametrize(("document", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_what_is_no_trace_is_refused_with_its_field(document, message):
    with pytest.raises(ValueError, match=re.escape(message)):
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
    from server.cli.plot.figure import draw

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
    from server.cli.plot.figure import draw

    def trace(count: int) -> dict:
        weights = {f"a{number}": 0.05 for number in range(count)}
        return {"choices": [{"tokens": 3, "steps": [step(0, weights)]}]}

    assert b"<pattern" not in draw(read_trace(trace(7), 0), "svg")
    assert b"<pattern" in draw(read_trace(trace(8), 0), "svg")


def test_an_answer_without_any_weight_has_a_picture_too():
    from server.cli.plot.figure import draw

    nothing = {"choices": [{"tokens": 3, "steps": [{"token": 0, "weights": {}}]}]}
    assert draw(read_trace(nothing, 0), "svg").startswith(b"<?xml")


def refused(file: str, **options) -> str:
    with pytest.raises(CommandError) as caught:
        plot_trace(Path(file), options.get("out"), options.get("choice", 0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_faults_take_one_line_and_leave_no_picture(trace_file, monkeypatch):
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
    assert "not a trace that can be drawn: 'choices' must be" in refused("other.json")
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
    shown = loralloy("chat", "--help").stdout
    for option in ("--trace", "--scope", "--stride"):
        assert option in shown
