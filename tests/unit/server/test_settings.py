import re
from pathlib import Path

import pytest

from server.app import upload_limits
from server.errors import InvalidSettings
from server.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[3]
UPLOADS = [
    path
    for folder in ("adapters/archive", "adapters/format", "adapters/validation", "server/sources")
    for path in sorted((ROOT / folder).glob("*.py"))
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("LORALLOY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "server.yaml"

    def write(text: str):
        path.write_text(text)
        return path

    return write


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults(
    config, monkeypatch
):
    path = config("port: 1\nhost: '::1'\nlog_level: error\nengine: {max_loras: 3, dtype: float16}")
    monkeypatch.setenv("LORALLOY_PORT", "2")
    monkeypatch.setenv("LORALLOY_ENGINE__DTYPE", "bfloat16")
    monkeypatch.setenv("LORALLOY_LOG_LEVEL", "warning")
    settings = load_settings({"port": 3, "engine": {"max_lora_rank": 8}}, path)
    assert settings.port == 3
    assert settings.log_level == "warning"
    assert settings.host == "::1"
    assert settings.engine.max_loras == 3
    assert settings.engine.dtype == "bfloat16"
    assert settings.engine.max_lora_rank == 8
    assert settings.engine.max_num_seqs == load_settings({}).engine.max_num_seqs


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"prot": 1}, "prot"),
        ({"engine": {"nope": 1}}, "engine.nope"),
        ({"port": 99999}, "port"),
        ({"engine": {"dtype": "int3"}}, "engine.dtype"),
        ({"engine": {"max_num_seqs": 513}}, "max_num_batched_tokens (512) is below max_num_seqs"),
        ({"api_keys": ["two words"]}, "api_keys"),
        ({"api_keys": [""]}, "api_keys"),
    ],
)
def test_a_fault_is_told_in_one_line_with_its_field(flags, told):
    with pytest.raises(InvalidSettings) as caught:
        load_settings(flags)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "a: [1\n", "nope: 1\n", "engine: 3\n", "\x00"])
def test_a_broken_config_file_is_told_in_one_line(config, text):
    with pytest.raises(InvalidSettings) as caught:
        load_settings({}, config(text))
    assert "\n" not in str(caught.value)


def test_a_missing_config_file_is_told(tmp_path):
    with pytest.raises(InvalidSettings, match="there is no config file"):
        load_settings({}, tmp_path / "no.yaml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_only_loopback_is_served_without_a_key(host):
    with pytest.raises(InvalidSettings, match="without an API key"):
        load_settings({"host": host}).check()
    load_settings({"host": host, "api_keys": ["k"]}).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    load_settings({"host": host}).check()


def test_keys_come_from_flags_environment_and_file(tmp_path, monkeypatch):
    path = tmp_path / "keys"
    path.write_text("# team\nthree\n\nfour\n")
    monkeypatch.setenv("LORALLOY_API_KEYS", "one, two")
    assert load_settings({"api_key_file": path}).keys() == ("one", "two", "three", "four")
    monkeypatch.setenv("LORALLOY_API_KEYS", '["a","b"]')
    assert load_settings({}).keys() == ("a", "b")


@pytest.mark.parametrize("content", ["", "# none\n", "two words\n"])
def test_a_key_file_without_a_usable_key_is_refused(tmp_path, content):
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(InvalidSettings, match="API key file"):
        load_settings({"api_key_file": path}).keys()


def test_keys_are_not_printed():
    assert "sesame" not in repr(load_settings({"api_keys": ["sesame"]}))


def test_secrets_of_the_storage_are_never_shown() -> None:
    url = "postgresql+psycopg://me:sesame@127.0.0.1/adapters"
    options = {"key": "open", "secret": "sesame"}
    settings = load_settings(
        {"database_url": url, "store_url": "s3://bucket/a", "storage": {"options": options}}
    )
    settings.check()
    assert settings.locations.database_url == url
    assert settings.locations.store_options == options
    for shown in (repr(settings), settings.model_dump_json(), repr(settings.locations)):
        assert "sesame" not in shown
        assert "bucket" in shown


@pytest.mark.parametrize(
    "given",
    [
        {"database_url": "sesame"},
        {"database_url": "mysql://me:sesame@host/name"},
        {"database_url": "postgresql+asyncpg://me:sesame@host/name"},
        {"database_url": "postgresql://me:sesame@host:port/name"},
        {"store_url": "sesame"},
        {"store_url": "file:///sesame"},
        {"store_url": "s3://"},
        {"store_url": "s3://me:sesame@bucket"},
    ],
)
def test_urls_that_mean_nothing_are_refused_without_repeating_them(given: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match="must be like") as caught:
        load_settings(given).check()
    assert "sesame" not in str(caught.value)


def test_sources_are_off_unless_they_are_listed(monkeypatch):
    off = load_settings({}).sources
    assert (off.hf, off.s3, off.https, off.file, off.private_networks) == ((), (), (), None, ())
    monkeypatch.setenv("LORALLOY_SOURCES__HF", '["my-org/*"]')
    monkeypatch.setenv("LORALLOY_SOURCES__HF_TOKEN", "hf-secret")
    on = load_settings({})
    assert on.sources.hf == ("my-org/*",)
    assert "hf-secret" not in repr(on)
    with pytest.raises(InvalidSettings, match=r"sources\.hf"):
        load_settings({"sources": {"hf": ["my-org"]}})


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_of_authorities_that_says_nothing_ends_the_start(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"sources\.ca_file"):
        load_settings({"sources": {"ca_file": file}}).check()


def test_further_names_of_the_base_model_are_split_and_checked(monkeypatch) -> None:
    monkeypatch.setenv("LORALLOY_ACCEPTED_BASES", "org/one, two")
    settings = load_settings({})
    assert settings.accepted_bases == ("org/one", "two")
    assert upload_limits(settings).accepted_bases == {"org/one", "two"}
    assert load_settings({"accepted_bases": ["a/b"]}).accepted_bases == ("a/b",)
    for nothing in ([""], ["/"], ["a", " "]):
        with pytest.raises(InvalidSettings, match="accepted_bases"):
            load_settings({"accepted_bases": nothing})


def test_every_setting_that_an_error_of_an_upload_advises_exists() -> None:
    source = "\n".join(path.read_text("utf-8") for path in UPLOADS)
    advised = set(re.findall(r"the setting ((?:\w+\.)?\w+)", " ".join(source.split())))
    assert "accepted_bases" in advised
    for name in advised:
        group, _, field = name.rpartition(".")
        fields = Settings.model_fields
        if group:
            fields = fields[group].annotation.model_fields
        assert field in fields, name


def test_pinned_adapters_leave_a_slot_to_the_others(config) -> None:
    told = "engine: {max_loras: 3}\nresidency: {pinned: [maths, code%s]}"
    load_settings({}, config(told % "")).check()
    with pytest.raises(InvalidSettings, match="names 3 adapters of 3 slots"):
        load_settings({}, config(told % ", reading")).check()
