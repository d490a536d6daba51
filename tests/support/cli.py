"""The command line in a process of its own, and a trace as the server gives it."""

import subprocess
import sys

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
