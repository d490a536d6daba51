import json
import socket
import subprocess
import sys

import pytest

from server.cli.chat import parse_weights
from server.cli.messages import CommandError

HEAVY = ("torch", "vllm", "transformers", "fastapi", "httpx", "pydantic", "numpy")


def loralloy(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200", "PYTHONPATH": ".", "HOME": "/nonexistent", **environment},
        timeout=60,
    )


def fault(*arguments: str, **environment: str) -> str:
    done = loralloy(*arguments, **environment)
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom server.cli import main\nsys.argv = ['loralloy', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    "
        f"print([module for module in {HEAVY!r} if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
    for command in ("serve", "chat", "route", "adapters", "keys", "policies"):
        assert command in done.stdout


def test_settings_in_effect_are_printed_without_keys(tmp_path):
    config = tmp_path / "server.yaml"
    config.write_text("port: 9000\nengine: {max_loras: 5}\n")
    done = loralloy(
        *("serve", "--print-config", "--config", str(config), "--api-key", "sesame", "--eager"),
        LORALLOY_LIMITS__MAX_PROMPTS="7",
    )
    settings = json.loads(done.stdout)
    assert (settings["port"], settings["limits"]["max_prompts"]) == (9000, 7)
    assert (settings["engine"]["max_loras"], settings["engine"]["compile"]) == (5, "never")
    assert "sesame" not in done.stdout


def test_a_server_for_others_needs_a_key():
    assert "without an API key" in fault("serve", "--host", "0.0.0.0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dtype", "int3"), "engine.dtype"),
        (("--port", "99999"), "port"),
        (("--config", "/nonexistent.yaml"), "there is no config file"),
        (("--api-key-file", "/nonexistent"), "cannot be read"),
        (("--policies", "/nonexistent.yaml"), "nonexistent.yaml"),
        (("--model", "/nonexistent/model"), "there is no folder"),
        (("--encoder", "./nonexistent"), "there is no folder"),
    ],
)
def test_a_wrong_setting_takes_one_line(tmp_path, arguments, message):
    assert message in fault("serve", "--port", "0", "--data-dir", str(tmp_path), *arguments)[:400]


def test_a_taken_port_is_told_before_anything_slow(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = fault("serve", "--port", port, "--data-dir", str(tmp_path))
    assert f"cannot listen on 127.0.0.1:{port}" in message


def test_a_data_folder_has_one_server(tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"):
        message = fault("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert "another server uses the data folder" in message


def test_policies_are_checked_with_their_lines(tmp_path):
    file = tmp_path / "policies.yaml"
    file.write_text("policies:\n  auto:\n    kind: softmax\n    topk: 3\n")
    done = loralloy("policies", "check", str(file))
    assert done.returncode == 1
    assert "line 4: policies.auto.topk" in done.stderr
    assert "Traceback" not in done.stderr
    file.write_text("policies:\n  mine:\n    kind: nearest\n")
    done = loralloy("policies", "check", str(file))
    assert done.returncode == 0
    assert "mine" in done.stdout


def test_a_server_that_is_not_there_is_told():
    assert "no server answers" in fault("adapters", "list", "--url", "http://127.0.0.1:9")
    assert "http" in fault("adapters", "list", "--url", "nonsense")


def test_unknown_options_end_with_two():
    done = loralloy("serve", "--nope")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_weights_are_read_from_the_command_line():
    assert parse_weights("maths=0.7, code=0.3") == {"maths": 0.7, "code": 0.3}
    for wrong in ("maths", "=1", "maths=x", ""):
        with pytest.raises(CommandError):
            parse_weights(wrong)
