"""What the client sends, without sending it: where to, requests, forms."""

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.datastructures import UploadFile
from starlette.requests import Request as StarletteRequest

import loralloy_client
from adapters import files, routing_data
from loralloy_client import AsyncLoralloy, Loralloy, Mixture
from loralloy_client import _adapter_requests as adapter_requests
from loralloy_client import _async_namespaces as async_namespaces
from loralloy_client import _namespaces as namespaces
from loralloy_client import _requests as requests
from loralloy_client._async_jobs import AsyncJobs
from loralloy_client._config import Config, timeouts
from loralloy_client._form import PIECE_BYTES, Form
from loralloy_client._jobs import Jobs
from loralloy_client.errors import InvalidRequest
from tests.support.cli import loralloy
from tests.support.scripted_server import refuses, scripted

SOURCE = Path(loralloy_client.__file__).parent

REFUSE_HEAVY = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "numpy", "vllm", "transformers", "server", "router"}:
            raise ImportError(f"{name} is refused")

sys.meta_path.insert(0, Refuse())
try:
    import torch
except ImportError as error:
    assert "is refused" in str(error)
else:
    raise SystemExit("the hook does not work")
import loralloy_client
import loralloy_client.errors
print(loralloy_client.Loralloy("http://127.0.0.1:1").chat.__name__)
"""


def test_it_needs_neither_torch_nor_the_server(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_HEAVY],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "chat\n"), done.stderr


PAIRS = [
    (Loralloy, AsyncLoralloy),
    (namespaces.Adapters, async_namespaces.AsyncAdapters),
    (namespaces.Policies, async_namespaces.AsyncPolicies),
    (namespaces.Models, async_namespaces.AsyncModels),
    (Jobs, AsyncJobs),
]


@pytest.mark.parametrize(("sync", "async_"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_clients_have_the_same_methods(sync, async_):
    def methods(kind: type) -> dict[str, tuple[list[str], object]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        public = {name: method for name, method in found if not name.startswith("_")}
        return {
            name: ([str(p) for p in inspect.signature(m).parameters.values()], m.__doc__)
            for name, m in public.items()
        }

    assert methods(sync) == methods(async_)
    assert methods(sync)


# Where the server is.


def test_arguments_win_over_the_environment(monkeypatch):
    assert Config.of(None, None).url == "http://127.0.0.1:8000"
    assert "Authorization" not in Config.of(None, None).headers
    monkeypatch.setenv("LORALLOY_URL", "https://there:9/v1/")
    monkeypatch.setenv("LORALLOY_API_KEY", "k1")
    config = Config.of(None, None)
    assert (config.url, config.headers["Authorization"]) == ("https://there:9", "Bearer k1")
    config = Config.of("http://here/", "k2")
    assert (config.url, config.headers["Authorization"]) == ("http://here", "Bearer k2")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port", "x"])
def test_an_address_that_is_none_of_http_is_refused_at_once(url):
    with pytest.raises(ValueError, match="no address of a server"):
        Loralloy(url)


def test_connecting_never_gets_longer_than_a_few_seconds():
    assert timeouts(None, default=600).connect == 5
    assert timeouts(2, default=600).connect == 2
    assert timeouts(None, default=None).read is None
    assert timeouts(None, default=None).connect == 5


# Requests.


def test_a_chat_says_what_was_given_and_nothing_else():
    request = requests.chat("hi", {"model": "auto", "max_tokens": 3, "seed": None}, stream=False)
    assert request.body == {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "auto",
        "max_tokens": 3,
    }
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        ({"a": 0.5}, {"adapters": {"a": 0.5}}),
        (
            Mixture(adapters={"a": 1}, combination="linear"),
            {"adapters": {"a": 1.0}, "combination": "linear"},
        ),
        (
            loralloy_client.AppliedMixture(adapters={"a": 1}, base_share=0.0, policy="auto"),
            {"adapters": {"a": 1.0}, "combination": "cat"},
        ),
    ],
)
def test_a_mixture_is_given_as_weights_or_as_it_was_applied(mixture, expected):
    request = requests.complete("hi", {"mixture": mixture}, stream=False)
    assert request.body == {"prompt": "hi", "mixture": expected}


def test_streams_ask_for_the_mixture_unless_told_otherwise():
    asked = requests.complete([1, 2], {"stream_options": {"include_usage": True}}, stream=True)
    assert asked.body == {
        "prompt": [1, 2],
        "stream": True,
        "stream_options": {"include_mixture": True, "include_usage": True},
    }
    off = requests.chat("x", {"stream_options": {"include_mixture": False}}, stream=True)
    assert off.body["stream_options"] == {"include_mixture": False}


def test_what_is_no_field_of_the_body_stays_out_of_it():
    request = requests.chat(
        [], {"request_id": "r1", "timeout": 3.0, "extra_body": {"lora": []}}, stream=False
    )
    assert request.body == {"messages": [], "lora": []}
    assert (request.headers, request.timeout) == ({"X-Request-Id": "r1"}, 3.0)


def test_a_slip_of_the_pen_is_refused():
    with pytest.raises(TypeError, match="'temprature'"):
        requests.chat("x", {"temprature": 1.0}, stream=False)
    with pytest.raises(TypeError, match="'tools'"):
        requests.complete("x", {"tools": []}, stream=False)


def test_names_cannot_lead_elsewhere():
    assert adapter_requests.remove("../a b").path == "/v1/adapters/..%2Fa%20b"
    with pytest.raises(ValueError, match="needs a name"):
        adapter_requests.remove("")
    request = requests.trace("r1", expand=True)
    assert (request.path, request.query) == ("/v1/traces/r1", {"expand": "true"})


# Uploads.


def read_form(form: Form) -> dict[str, object]:
    """The form as the server's own library reads it."""
    return read_parts(form.content_type, list(form.pieces()))


def read_parts(content_type: str, pieces: list[bytes]) -> dict[str, object]:
    async def read() -> dict[str, object]:

        async def receive() -> dict[str, object]:
            body = pieces.pop(0) if pieces else b""
            return {"type": "http.request", "body": body, "more_body": bool(pieces)}

        headers = [(b"content-type", content_type.encode())]
        request = StarletteRequest({"type": "http", "headers": headers}, receive)
        async with request.form() as parsed:
            return {
                name: (value.filename, await value.read())
                if isinstance(value, UploadFile)
                else value
                for name, value in parsed.items()
            }

    return asyncio.run(read())


def test_a_form_is_read_as_it_was_meant(tmp_path):
    file = tmp_path / 'od"d ü.bin'
    content = bytes(range(256)) * 1024
    file.write_bytes(content)
    form = Form({"name": "a", "description": "über\r\n--x"}, {"file": file})
    assert sum(map(len, form.pieces())) == form.length
    assert max(map(len, form.pieces())) <= PIECE_BYTES < len(content)
    assert read_form(form) == {
        "name": "a",
        "description": "über\r\n--x",
        "file": ("od%22d ü.bin", content),
    }


def test_a_file_that_changes_is_noticed_or_cut(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"12345")
    form = Form({}, {"file": file})
    file.write_bytes(b"1234567")
    assert sum(map(len, form.pieces())) == form.length
    file.write_bytes(b"123")
    with pytest.raises(OSError, match="became shorter"):
        list(form.pieces())


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"w")
    return folder


def test_a_folder_is_sent_with_its_routing_data(folder):
    beside = {"centroids": [[1, 2]], "encoder": "e", "description": "old", "digest": "x"}
    (folder / "router.json").write_text(json.dumps(beside))
    request = adapter_requests.push("a", folder, (None, None), {"description": "new"}, None)
    assert read_form(request.form) == {
        "name": "a",
        "description": "new",
        "centroids": "[[1, 2]]",
        "encoder": "e",
        "config": ("adapter_config.json", b"{}"),
        "file": ("adapter_model.safetensors", b"w"),
    }


ROUTER_FILES = [
    {"centroids": [[1, 2]], "encoder": "e", "description": "öld", "digest": "x"},
    {"centroid": [1, 2], "encoder": "e", "examples": ["a", "b"], "description": None},
    {},
]


@pytest.mark.parametrize("beside", ROUTER_FILES)
@pytest.mark.parametrize("description", [None, "new"])
def test_the_command_line_sends_the_same_form(folder, beside, description):
    (folder / "router.json").write_text(json.dumps(beside))
    given = [] if description is None else ["--description", description]
    with scripted(refuses(400, "invalid_request")) as server:
        loralloy("adapters", "push", "a", str(folder), *given, "--url", server.url)
        with pytest.raises(InvalidRequest), Loralloy(server.url) as client:
            client.adapters.push("a", folder, description=description)
    command, ours = (
        (method, path, read_parts(headers["Content-Type"], [body]))
        for method, path, headers, body in server.seen
    )
    assert command == ours
    assert ours[2].keys() >= {"name", "config", "file"}


def test_both_read_the_same_files_and_fields():
    assert adapter_requests.CONFIG_FILE == files.CONFIG_FILE
    assert adapter_requests.WEIGHTS_FILE == files.WEIGHTS_FILE
    assert adapter_requests.ROUTING_FILE == files.ROUTING_FILE
    assert adapter_requests.ROUTING_FIELDS == routing_data.ROUTING_FIELDS


def test_centroids_that_are_given_stand_in_for_the_folders_one(folder):
    (folder / "router.json").write_text('{"centroid": [1, 2], "encoder": "e"}')
    routing = {"centroids": [[3, 4]], "encoder": "f"}
    sent = read_form(adapter_requests.push("a", folder, (None, None), routing, None).form)
    assert "centroid" not in sent
    assert (sent["centroids"], sent["encoder"]) == ("[[3, 4]]", "f")


def test_examples_are_texts_or_a_file(folder):
    file = folder / "examples.jsonl"
    file.write_text('"x"\n')
    routing = {"examples": file}
    pair = (str(folder / "adapter_config.json"), folder / "adapter_model.safetensors")
    sent = read_form(adapter_requests.push("a", None, pair, routing, None).form)
    assert sent["examples"] == ("examples.jsonl", b'"x"\n')
    sent = read_form(
        adapter_requests.push("a", folder, (None, None), {"examples": ["x", "y"]}, None).form
    )
    assert sent["examples"] == '["x", "y"]'


def test_an_upload_needs_one_source(folder, tmp_path):
    with pytest.raises(ValueError, match="both 'config' and 'weights'"):
        adapter_requests.push("a", None, (folder, None), {}, None)
    with pytest.raises(ValueError, match="not both"):
        adapter_requests.push("a", folder, (folder, folder), {}, None)
    with pytest.raises(FileNotFoundError, match=r"has no adapter_config\.json"):
        adapter_requests.push("a", tmp_path, (None, None), {}, None)
    with pytest.raises(FileNotFoundError):
        adapter_requests.push("a", tmp_path / "none.zip", (None, None), {}, None)
    with pytest.raises(TypeError, match="'centroid'"):
        adapter_requests.push("a", folder, (None, None), {"centroid": [1]}, None)
