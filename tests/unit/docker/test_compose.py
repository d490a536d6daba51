"""compose.yaml and what it mounts hold to their schema and to each other."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import make_url

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?")


def test_compose_fits_the_compose_specification(tool):
    checked = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_misspelt_key_does_not_fit_it(tool, tmp_path):
    broken = tmp_path / "compose.yaml"
    broken.write_text((ROOT / "compose.yaml").read_text().replace("cap_drop:", "cap_dropp:"))
    checked = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(broken))
    assert checked.returncode != 0
    assert "cap_dropp" in checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_exact_images_and_health_checks(name):
    service = SERVICES[name]
    assert EXACT.fullmatch(service["image"]), service["image"]
    assert "healthcheck" in service or "build" in service  # ours has it in the image


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_of_loopback_alone(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_exists(name):
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_server_is_told_where_to_keep_adapters(tmp_path):
    from server.settings import load_settings

    subprocess.run([str(ROOT / "docker/make_secrets.sh"), str(tmp_path)], check=True)
    config = Path(SERVICES["server"]["environment"]["LORALLOY_CONFIG"])
    assert config.name in SERVICES["server"]["secrets"]
    settings = load_settings({}, tmp_path / config.name)
    settings.check()
    database = make_url(settings.locations.database_url)
    assert (database.host, database.username, database.database) == (
        "postgres",
        SERVICES["postgres"]["environment"]["POSTGRES_USER"],
        SERVICES["postgres"]["environment"]["POSTGRES_DB"],
    )
    assert database.password == (tmp_path / "postgres_password").read_text().strip()
    [identity] = json.loads((tmp_path / "s3.json").read_text())["identities"]
    assert settings.locations.store_options == {
        "endpoint_url": "http://s3:8333",
        "key": identity["credentials"][0]["accessKey"],
        "secret": identity["credentials"][0]["secretKey"],
    }


def test_the_bucket_is_made_once(tmp_path, s3):
    name = f"made-{tmp_path.name.replace('_', '-')}"
    config = tmp_path / "storage.yaml"
    told = {"store_url": f"s3://{name}/adapters", "storage": {"options": dict(s3.options)}}
    config.write_text(yaml.safe_dump(told))
    command = [sys.executable, str(ROOT / "docker/make_bucket.py")]
    environment = {**os.environ, "LORALLOY_CONFIG": str(config), "PYTHONPATH": str(ROOT)}
    for expected in (f"made the bucket {name}", f"there is a bucket {name}"):
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == expected
    assert s3.files().exists(name)


def test_every_secret_is_made_once_and_kept(tmp_path):
    folder = tmp_path / "secrets"
    script = [str(ROOT / "docker/make_secrets.sh"), str(folder)]
    subprocess.run(script, check=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    named = {n: Path(s["file"]) for n, s in COMPOSE["secrets"].items() if n != "pip"}
    assert set(made) == {path.name for path in named.values()}
    assert all(path.parent == Path("docker/secrets") for path in named.values())
    assert len(set(made.values())) == len(made)
    assert json.loads(made["s3.json"])["identities"][0]["credentials"][0]["secretKey"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in folder.iterdir())
    subprocess.run(script, check=True)
    assert made == {path.name: path.read_text() for path in folder.iterdir()}


def test_the_key_that_is_made_is_one_that_the_server_takes(tmp_path):
    from server.settings import Settings

    subprocess.run([str(ROOT / "docker/make_secrets.sh"), str(tmp_path)], check=True)
    settings = Settings(host="0.0.0.0", api_key_file=tmp_path / "api_key")
    settings.check()
    assert settings.keys() == ((tmp_path / "api_key").read_text().strip(),)


def test_secrets_reach_neither_git_nor_the_build():
    from tools.dockerfile import Context

    ignored = subprocess.run(
        ["git", "check-ignore", "docker/secrets/api_key"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0
    assert not Context(ROOT).admits("docker/secrets/api_key")
