"""Whatever a server, a file or a database says, no command lets it command the terminal."""

import ast
import json
import sys
from pathlib import Path

import pytest

from server.access.keys import ApiKey, new_key
from server.access.rows import KeyRows
from server.cli import main
from tests.support.access import database
from tests.support.hostile_text import HOSTILE, WHOLE, commands_in
from tests.support.scripted_server import Answer, says, scripted

WEIGHTS = {HOSTILE: 0.7, "code": 0.3}
MIXTURE = {"adapters": WEIGHTS, "base_share": 0.1, "policy": HOSTILE, "combination": HOSTILE}
ADAPTER = {
    **{"id": HOSTILE, "version": HOSTILE, "rank": HOSTILE, "size_bytes": 2048, "digest": HOSTILE},
    **{"resident": True, "routing": {"has_centroid": True, "description": HOSTILE}},
    **{"warnings": [HOSTILE], "state": HOSTILE},
}
POLICY = {
    **{"id": HOSTILE, "kind": HOSTILE, "version": HOSTILE, "source": HOSTILE},
    **{"description": HOSTILE, "file_version": HOSTILE},
}
VERSION = {"number": HOSTILE, "created": 0, "digest": HOSTILE, "version": HOSTILE}
JOB = {
    **{"id": WHOLE, "state": "running", "step": HOSTILE, "bytes_done": 1, "bytes_total": 2},
    **{"adapter": ADAPTER, "error": {"message": HOSTILE, "code": HOSTILE}},
}
ROUTED = {
    **{"policy": HOSTILE, "mixture": MIXTURE, "scores": {HOSTILE: 0.5, "code": 0.1}},
    **{"fallback": HOSTILE, "total_ms": 1.0},
}


def stream(*chunks: object) -> Answer:
    events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    whole = b"".join([*events, b"data: [DONE]\n\n"])
    return Answer(200, {}, [whole[at : at + 7] for at in range(0, len(whole), 7)])


def chunk(text: str, **fields: object) -> dict:
    return {"choices": [{"delta": {"content": text}}], **fields}


SPLIT = [chunk(character, mixture=MIXTURE) for character in HOSTILE]
COMMANDS = {
    "list": (["adapters", "list"], [says({"data": [ADAPTER]})]),
    "show": (["adapters", "show", "mine"], [says(ADAPTER)]),
    "push": (["adapters", "push", "mine", "FOLDER"], [says(ADAPTER)]),
    "replace": (["adapters", "replace", "mine", "FOLDER"], [says(ADAPTER)]),
    "versions": (["adapters", "versions", "mine"], [says({"data": [VERSION]})]),
    "restore": (["adapters", "restore", "mine", "ffffffff"], [says(ADAPTER)]),
    "describe": (["adapters", "describe", "mine", "--description", "x"], [says(ADAPTER)]),
    "remove": (["adapters", "remove", WHOLE], [says({"id": HOSTILE, "deleted": True})]),
    "import": (["adapters", "import", WHOLE, WHOLE], [says(JOB)]),
    "import, done": (
        ["adapters", "import", "mine", "hf://x", "--wait"],
        [says(JOB), says(JOB | {"state": "done"})],
    ),
    "import, failed": (
        ["adapters", "import", "mine", "hf://x", "--wait"],
        [says(JOB), says(JOB | {"state": "failed"})],
    ),
    "chat": (["chat", "--once", "hi"], [stream(chunk(HOSTILE, mixture=MIXTURE))]),
    "chat, split": (["chat", "--once", "hi"], [stream(*SPLIT)]),
    "chat, traced": (["chat", "--once", "--trace", "hi"], [stream(*SPLIT)]),
    "chat, refused": (["chat", "--once", "hi"], [stream({"error": {"message": HOSTILE}})]),
    "chat, of a model": (["chat", "hi", "--model", WHOLE], [stream(chunk("hello"))]),
    "route": (["route", "hi"], [says(ROUTED)]),
    "route as JSON": (["route", "hi", "--json"], [says(ROUTED)]),
    "policies": (["policies", "list"], [says({"data": [POLICY]})]),
    "policy": (["policies", "show", "mine"], [says(POLICY)]),
    "policy's versions": (["policies", "show", "mine", "--versions"], [says({"data": [VERSION]})]),
    "put": (["policies", "put", "mine", "POLICIES"], [says(POLICY)]),
    "remove policy": (["policies", "remove", "mine"], [says(POLICY)]),
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command; what it printed, none of which commands anything."""
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"w")
    (tmp_path / "policies.yaml").write_text("policies: {mine: {kind: tle}}")
    files = {"FOLDER": str(tmp_path), "POLICIES": str(tmp_path / "policies.yaml")}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("server.cli.imports._EVERY_S", 0.01)
    monkeypatch.setattr("builtins.input", lambda *_: (_ for _ in ()).throw(EOFError))

    def ran(*arguments: str) -> tuple[str, str]:
        named = [files.get(argument, argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["loralloy", *named])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, 1, None), ended.value.code
        out, err = capsys.readouterr()
        assert commands_in(out) == set(), out
        assert commands_in(err) == set(), err
        return out, err

    return ran


@pytest.fixture(params=["piped", "on a terminal"])
def terminal(request, monkeypatch):
    if request.param != "piped":
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLORTERM", "truecolor")  # rich keeps the first codes of a style
        monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_servers_answer_commands_nothing(run, terminal, command):
    arguments, answers = COMMANDS[command]
    with scripted(*answers) as server:
        out, err = run(*arguments, "--url", server.url)
    assert server.seen
    assert out or err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_servers_refusal_is_one_line(run, terminal, command):
    arguments, _ = COMMANDS[command]
    refusal = says({"error": {"message": HOSTILE, "code": HOSTILE}}, 400)
    with scripted(refusal) as server:
        out, err = run(*arguments, "--url", server.url)
    assert len(err.splitlines()) == 1 or "error" in out


def test_a_name_that_is_no_unicode_is_told(run):
    for arguments in (("adapters", "remove", HOSTILE), ("policies", "show", HOSTILE)):
        _, err = run(*arguments)
        assert "not valid Unicode" in err


def test_json_reads_back_as_the_server_said_it(run):
    with scripted(says(ADAPTER)) as server:
        out, _ = run("adapters", "show", "mine", "--url", server.url)
    assert json.loads(out) == json.loads(json.dumps(ADAPTER))


def test_plain_text_stays_as_it_is(run):
    """Letters of any script, colours of emoji, code with brackets, lines and tabs."""
    text = "Grüße 你好 שלום 🙂 🫩 \u00a0x\u3000y\n\tif a[0]: [bold] :smile: print(f'{x}')\r\nend"
    with scripted(stream(*(chunk(character) for character in text))) as server:
        out, _ = run("chat", "--once", "hi", "--url", server.url)
    assert (
        out == text.replace("\r", "").expandtabs(8) + "\n" or out == text.replace("\r", "") + "\n"
    )


def test_a_separator_within_a_chunk_does_not_end_its_line(run):
    raw = json.dumps(chunk("one\u2028two\u0085three"), ensure_ascii=False)
    answer = Answer(200, {}, [f"data: {raw}\r\n\r\ndata: [DONE]\n\n".encode()])
    with scripted(answer) as server:
        out, _ = run("chat", "--once", "hi", "--url", server.url)
    assert out == "one\\u2028two\\x85three\n"


def test_what_a_database_holds_commands_nothing(run, terminal, tmp_path):
    KeyRows(database(tmp_path)).add(new_key(), ApiKey(WHOLE, "user", 0.0, note=WHOLE), "cli")
    out, _ = run("keys", "list", "--data-dir", str(tmp_path))
    assert "owned" in out
    run("keys", "revoke", HOSTILE, "--data-dir", str(tmp_path))
    run("keys", "create", "--adapter", HOSTILE, "--data-dir", str(tmp_path))


@pytest.mark.parametrize("character", sorted(commands_in(WHOLE) | {"\n", "\t"}))
def test_no_note_of_a_key_has_a_hidden_character(run, tmp_path, character):
    _, err = run("keys", "create", "--note", f"for {character}Ann", "--data-dir", str(tmp_path))
    assert "a note is one line" in err
    assert not (tmp_path / "registry.db").exists()


YAML = json.dumps(HOSTILE)
FILES = [
    f"policies: {{mine: {{kind: tle, description: {YAML}}}}}",
    f"policies: {{{YAML}: {{kind: tle}}}}",
    f"policies: {{mine: {{kind: {YAML}}}}}",
    f"policies: {{mine: {{kind: tle, {YAML}: 1}}}}",
    f"policies: {{mine: {{kind: fixed, weights: {{{YAML}: 1}}}}}}",
    f"{YAML}: 1",
    "policies: \x1b[2J",
    "policies: {mine: {kind: tle, description: 'two\n\n lines'}}",
]


@pytest.mark.parametrize("content", FILES)
def test_a_file_commands_nothing(run, terminal, tmp_path, content):
    file = tmp_path / "strange.yaml"
    file.write_text(content, "utf-8", "surrogatepass")
    out, err = run("policies", "check", str(file))
    assert out or err


def test_a_trace_commands_nothing(run, terminal, tmp_path):
    file = tmp_path / "trace.json"
    step = {"token": 0, "weights": {HOSTILE: 1.0}}
    trace = {"policy": HOSTILE, "choices": [{"index": 0, "steps": [step]}]}
    for document in (trace, {**trace, "policy": None}, {HOSTILE: 1}, {"choices": [{HOSTILE: 1}]}):
        file.write_text(json.dumps(document))
        _, err = run("plot-trace", str(file))
        assert len(err.splitlines()) == 1


def test_names_of_folders_command_nothing(run, terminal, tmp_path):
    name = "a\x1b[2J\u202e$x$"
    folder = tmp_path / name
    folder.mkdir()
    for arguments in (
        ("merge", f"{folder}=1", f"{folder}2=1", "--out", str(tmp_path / "out")),
        ("merge", f"{folder}", "--out", str(tmp_path / "out")),
        ("interference", str(folder), str(folder)),
        ("adapters", "push", "mine", str(folder)),
        ("adapters", "fsck", "--data-dir", str(folder)),
        ("policies", "put", "mine", "POLICIES", "--url", "http://\x1b[2J"),
    ):
        _, err = run(*arguments)
        assert len(err.splitlines()) == 1


def test_commands_print_by_one_module_alone():
    """What prints by another way would have to be looked at by itself."""
    for file in Path("server/cli").rglob("*.py"):
        if file.name == "messages.py":
            continue
        calls = [
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Call)
        ]
        found = {"Console", "typer.echo", "print", "sys.stdout.write", "sys.stderr.write"} & set(
            calls
        )
        assert not found, file
