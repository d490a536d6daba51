"""What other servers fell for, tried on the real one. docs/security.md says where the rest is.

Every test leaves a server that is well, and no connection that somebody outside had asked for.
"""

import socket
import threading
import time

import psutil
import pytest

from tests.support.archives import zip_of
from tests.support.broken_adapters import GoodAdapter

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SAY = {"prompt": "one two", "max_tokens": 2}


@pytest.fixture
def lure():
    """An address that nobody may connect to: the test fails if somebody has."""
    visitors: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def watch() -> None:
            while True:
                try:
                    visitor, address = listener.accept()
                except OSError:
                    return
                visitors.append(address)
                visitor.close()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        time.sleep(0.2)  # for whoever is on its way
        listener.shutdown(socket.SHUT_RDWR)
    watcher.join()
    assert visitors == []


def code_of(answer) -> str:
    assert 400 <= answer.status_code < 500, answer.text
    return answer.json()["error"]["code"]


@pytest.mark.parametrize(
    "path",
    [
        *("/load_lora_adapter_from_tensors", "/load_lora_adapter", "/update_weights_from_tensor"),
        *("/update_weights_from_disk", "/update_weights_from_distributed", "/invocations"),
        *("/collective_rpc", "/reset_prefix_cache", "/sleep", "/wake_up", "/start_profile"),
        *("/v1/lora/load", "/server_info", "/pause", "/scale_elastic_ep"),
        *("/rerank", "/pooling", "/score", "/v1/embeddings", "/generate", "/inference/v1/generate"),
    ],
)
def test_routes_that_were_ways_in_elsewhere_are_not_there(http, path):
    """SGLang CVE-2026-15969, CVE-2025-10164: weights as pickles; and vLLM's dev routes."""
    assert code_of(http.post(path, content=b"\x80\x04\x95evil")) == "not_found"


def test_nothing_of_the_server_listens_beyond_the_loopback(server):
    """SGLang CVE-2026-3059, -3060: a broker or a worker's socket that anybody could talk to.

    PyTorch's gloo listens too, on the loopback here; whatever else is there is seen as well.
    """
    process = psutil.Process(server.process.pid)
    family = [process, *process.children(recursive=True)]
    listening = {
        (one.laddr.ip, one.laddr.port)
        for member in family
        for one in member.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    }
    ours = int(server.url.rpartition(":")[2])
    assert ("127.0.0.1", ours) in listening
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1"}


PATHS = [
    *("/etc/passwd", "../../../etc/passwd", "..%2f..%2fetc", "./adapters", "~/adapters"),
    *("s3://bucket/adapter", "hf://org/repo@main", "org/repo", "https://127.0.0.1/a.zip"),
    *("file:///etc", "\\\\host\\share", "a" * 10_000, "r8-a/../../r8-b", "r8-a\x00"),
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:20])
def test_no_name_is_ever_a_path_or_an_address(http, path):
    """vLLM PR #46287, SGLang CVE-2026-10300, LoRAX #798, stable-diffusion.cpp PR #830."""
    for body in (
        {"model": path},
        {"model": f"tiny-llama:{path}"},
        {"lora": [{"id": path, "scale": 1}]},
        {"adapter_id": path, "adapter_source": "s3"},
        {"adapter_id": path, "adapter_source": "hub", "api_token": "x"},
        {"merged_adapters": {"ids": [path], "weights": [1]}},
        {"mixture": {"adapters": {path: 1}}},
        {"policy": path},
    ):
        code = code_of(http.post(COMPLETIONS, json={**SAY, **body}))
        assert code in {"model_not_found", "unknown_policy", "mixture_invalid", "invalid_request"}
    for body in ({"lora_name": "way-in", "lora_path": path}, {"lora_name": path, "lora_path": "x"}):
        code = code_of(http.post("/v1/load_lora_adapter", json=body))
        assert code.startswith(("source_", "adapter_name", "invalid_request")), (code, body)


def test_loading_from_elsewhere_is_refused_and_the_engine_lives(http, server, tmp_path):
    """SGLang CVE-2026-10300: a bad ``lora_path`` ended the server."""
    (tmp_path / "adapter_config.json").write_text("{}")
    for path in (tmp_path, "/proc/self", "/dev/zero", server.adapters["r8-a"].parent, ""):
        body = {"lora_name": "way-in", "lora_path": str(path)}
        assert code_of(http.post("/v1/load_lora_adapter", json=body)).startswith("source_")
    assert http.post(COMPLETIONS, json={**SAY, "model": "r8-a"}).status_code == 200


@pytest.mark.parametrize("what", ["image_url", "video_url", "audio_url", "input_audio", "file"])
def test_what_a_message_points_at_is_not_fetched(http, lure, what):
    """vLLM CVE-2026-22778, -22773 and fetching by ``image_url``: media that are read or fetched."""
    url = f"http://{lure}/x.png"
    part = {"type": what, what: {"url": url, "data": "AAAA", "format": "wav"}}
    body = {"model": "r8-a", "messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
    code_of(http.post(CHAT, json=body))


def test_an_adapters_config_sends_nobody_anywhere(http, server, lure):
    """SGLang #26789: a config's ``path`` was fetched; vLLM CVE-2026-22807: its code was run."""
    good = GoodAdapter.read(server.adapters["r8-a"])
    changes = [
        {"auto_map": {"AutoModel": f"http://{lure}/evil.Model"}},
        {"path": f"http://{lure}/x", "url": f"http://{lure}/x"},
        {"base_model_name_or_path": f"http://{lure}/Other-7B"},
        {"trust_remote_code": True},
        {"custom_pipeline": "evil"},
    ]
    for change in changes:
        files = good.files(config=good.config_bytes(**change))
        answer = http.post("/v1/adapters", data={"name": "way-in"}, files=files)
        if answer.status_code == 201:  # a word that means nothing here; the lure says the rest
            http.delete("/v1/adapters/way-in").raise_for_status()
            assert "auto_map" not in change
        else:
            assert code_of(answer) in {"adapter_unsupported", "adapter_incompatible_base"}, change


def test_templates_and_tokenizers_in_an_archive_change_nothing(http, server):
    """SGLang CVE-2026-5760: a chat template that came with a model's files was run."""
    good = GoodAdapter.read(server.adapters["r8-a"])
    config = good.config_bytes(lora_alpha=13)
    evil = b"{{ cycler.__init__.__globals__.os.system('touch evil') }}"
    members = [
        ("adapter_config.json", config),
        ("adapter_model.safetensors", good.weights_bytes()),
        ("chat_template.jinja", evil),
        ("tokenizer_config.json", b'{"chat_template": "' + evil.replace(b'"', b"") + b'"}'),
        ("tokenizer.json", b"{}"),
        ("modeling_evil.py", b"raise SystemExit"),
    ]
    ask = {"model": "r8-a", "messages": [{"role": "user", "content": "one"}], "max_tokens": 1}
    before = http.post(CHAT, json=ask).json()["usage"]["prompt_tokens"]
    pushed = http.post(
        "/v1/adapters", data={"name": "templated"}, files={"archive": ("a.zip", zip_of(members))}
    )
    try:
        assert pushed.status_code == 201, pushed.text
        answer = http.post(CHAT, json={**ask, "model": "templated"})
        assert answer.json()["usage"]["prompt_tokens"] == before
    finally:
        http.delete("/v1/adapters/templated")


@pytest.mark.parametrize(
    "field",
    [
        {"prompt_embeds": "gAQ="},
        {"kv_transfer_params": {"do_remote_prefill": True, "remote_host": "127.0.0.1"}},
        {"chat_template": "{{ x }}"},
        {"vllm_xargs": {"kv_transfer_params": "x"}},
        {"logits_processors": ["os.system"]},
    ],
    ids=str,
)
def test_no_field_of_a_request_brings_pickles_code_or_hosts(http, field):
    """vLLM CVE-2025-62164 (``torch.load`` of a request), TensorRT-LLM NVBugs 6025330."""
    answer = http.post(COMPLETIONS, json={**SAY, "model": "r8-a", **field})
    if "logits_processors" not in field:
        assert code_of(answer) == "unsupported_parameter"
    assert answer.status_code in (200, 400)


def test_an_import_reaches_no_address_that_the_settings_do_not_list(http, lure):
    for source in (
        f"https://{lure}/a.zip",
        f"https://localhost:{lure.partition(':')[2]}/a.zip",
        f"hf://org/repo@{'0' * 40}",
        "s3://bucket/adapter",
    ):
        refused = http.post("/v1/imports", json={"name": "way-in", "source": source})
        assert (refused.status_code, code_of(refused)) == (403, "source_not_allowed")
    assert all(job["name"] != "way-in" for job in http.get("/v1/jobs").json()["data"])


def test_an_import_from_the_folder_is_a_job_that_ends_with_an_adapter(http, server):
    source = f"file://{server.adapters['r8-b']}"
    job = http.post("/v1/imports", json={"name": "fetched", "source": source}).json()
    try:
        while job["state"] in ("queued", "running"):
            time.sleep(0.1)
            job = http.get(f"/v1/jobs/{job['id']}").json()
        assert (job["state"], job["error"]) == ("done", None)
        said = [
            http.post(COMPLETIONS, json={**SAY, "model": name, "temperature": 0}).json()
            for name in ("fetched", "r8-b")
        ]
        assert said[0]["choices"][0]["text"] == said[1]["choices"][0]["text"]
    finally:
        http.delete("/v1/adapters/fetched")
