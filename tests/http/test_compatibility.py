"""Every row of docs/compatibility.md on what clients may send, tried against the real server."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import InferenceClient

DOCS = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
NAMES = {"maths": "r8-a", "code": "r16", "BASE": "tiny-llama"}
PEERS = ("OpenAI", "vLLM", "SGLang", "LoRAX", "llama.cpp", "TGI", "Others")

ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 1},
    ),
    "completions": ("/v1/completions", {"prompt": "one two", "max_tokens": 1}),
    "responses": ("/v1/responses", {"input": "one two", "max_output_tokens": 1}),
}
_ROW = re.compile(r"\| `(.+)` \| (.+?) \| `(.+?)` \|")


@dataclass(frozen=True)
class Row:
    """One row of the tables, for one of its routes.

    Attributes:
        peer: the heading above it.
        sent: the body, or what of it stands in the row.
        route: one of ``ROUTES``, or a method and a path.
        expected: the last cell.
    """

    peer: str
    sent: str
    route: str
    expected: str

    def __str__(self) -> str:
        return f"{self.peer} {self.route} {self.sent[:80]}"


def rows() -> list[Row]:
    section = re.search(
        r"^## What clients may send\n(.*?)(?=^## |\Z)", DOCS.read_text("utf-8"), re.M | re.S
    )
    assert section is not None
    found: list[Row] = []
    peer = ""
    for line in section[1].splitlines():
        if line.startswith("### "):
            peer = line.removeprefix("### ")
        if not line.startswith("|") or line in ("| a request with | to | gets |", "|---|---|---|"):
            continue
        cells = _ROW.fullmatch(line)
        assert cells is not None, f"this row cannot be tried: {line}"
        sent, routes, expected = cells.groups()
        found += [Row(peer, sent, route, expected) for route in routes.split(", ")]
    return found


ROWS = rows()


def test_every_peer_has_rows():
    assert tuple(dict.fromkeys(row.peer for row in ROWS)) == PEERS
    assert all(row.route in ROUTES or row.route.startswith("`POST /") for row in ROWS)


def as_here(value: Any, numbers: dict[str, int]) -> Any:
    """A row's body with the names and numbers that the tests' server has."""
    if isinstance(value, str):
        return re.sub("maths|code|BASE", lambda name: NAMES[name[0]], value)
    if isinstance(value, list):
        return [as_here(one, numbers) for one in value]
    if isinstance(value, dict):
        if set(value) <= {"id", "scale"} and value.get("id") in (0, 1):
            return {**value, "id": numbers[("maths", "code")[value["id"]]]}
        return {as_here(name, numbers): as_here(one, numbers) for name, one in value.items()}
    return value


@pytest.fixture(scope="module")
def numbers(http) -> dict[str, int]:
    listed = {one["path"]: one["id"] for one in http.get("/lora-adapters").json()}
    return {name: listed[here] for name, here in NAMES.items() if here in listed}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_holds(http, numbers, row):
    sent = as_here(json.loads(row.sent), numbers)
    if row.route in ROUTES:
        path, said = ROUTES[row.route]
        sent = {**said, **sent}
    else:
        path = row.route.strip("`").removeprefix("POST ")
    answer = http.post(path, json=sent)
    told = answer.headers.get("x-loralloy-mixture", "")
    if row.expected[:1].isdigit():
        status, code, *param = row.expected.split(" ")
        assert (answer.status_code, answer.json()["error"]["code"]) == (int(status), code)
        assert param in ([], [answer.json()["error"]["param"]])
        assert not told
        return
    assert answer.status_code == 200, answer.text
    if row.expected == "auto":
        assert ", policy=auto@" in told
    else:
        assert told.partition(",")[0] == as_here(row.expected, numbers)


def test_hugging_faces_client_chats_with_an_adapter(server, monkeypatch):
    # It asks nobody but this server, and refuses to while the hub must not be asked.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    hub = InferenceClient(base_url=f"{server.url}/v1", api_key="any")
    said = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 3}
    by_model = hub.chat_completion(model="r8-a", **said)
    assert by_model.model == "r8-a"
    by_field = hub.chat_completion(model="tiny-llama", extra_body={"adapter_id": "r8-a"}, **said)
    assert by_field.model == "r8-a"
