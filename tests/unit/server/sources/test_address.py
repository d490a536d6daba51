"""What is a source, and which one the settings allow."""

import pytest
from pydantic import ValidationError

from server.errors import InvalidSource, SourceNotAllowed
from server.sources.address import HttpsSource, HubSource, S3Source, parse_source
from server.sources.allowed import check_allowed
from server.sources.settings import SourceSettings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_four_kinds_are_read():
    hub = parse_source(f"hf://org/repo.x@{COMMIT}/a/b")
    assert hub == HubSource("org/repo.x", COMMIT, "a/b")
    assert parse_source(f"hf://org/repo@{COMMIT}").folder == ""
    assert parse_source("s3://bucket/some/prefix/") == S3Source("bucket", "some/prefix")
    assert parse_source("file:///a%20b/c").path == "/a b/c"
    https = parse_source("https://ADAPTERS.test/a/b.tar.gz?signature=secret")
    assert isinstance(https, HttpsSource)
    assert https.shown == "https://adapters.test/a/b.tar.gz?…"


@pytest.mark.parametrize(
    "source",
    [
        *("", "x", "/etc/passwd", "http://adapters.test/a.zip", "ftp://a/b.zip", "HF", "gs://a/b"),
        *("https://", "https:///a.zip", "https://adapters.test/", "https://adapters.test/a.bin"),
        *("https://user@adapters.test/a.zip", "https://u:p@adapters.test/a.zip"),
        *(
            "https://adapters.test/a.zip#x",
            "https://adapters.test:99999/a.zip",
            "https://[::1/a.zip",
        ),
        *("https://2130706433/a.zip", "https://0x7f000001/a.zip", "https://0177.0.0.1/a.zip"),
        *("https://127.1/a.zip", "https://127.0.0.1./a.zip", "https://127.0x1/a.zip"),
        *("https://adapters.test./a.zip", "https://adapters.test\\@evil.test/a.zip"),
        *("hf://org/repo", "hf://org/repo@main", "hf://org/repo@0123456", f"hf://repo@{COMMIT}"),
        *(f"hf://org/repo@{COMMIT.upper()}", f"hf://../repo@{COMMIT}", f"hf://org/..@{COMMIT}"),
        *(f"hf://org/repo@{COMMIT}/../x", f"hf://org/repo@{COMMIT}//x", f"hf://org/@{COMMIT}"),
        *(f"hf://org/repo@{COMMIT}?x=1", f"hf://org/repo@{COMMIT}/a%2e%2e", f"hf://a/b/c@{COMMIT}"),
        *("s3://", "s3://bucket", "s3://bucket/", "s3://b/x", "s3://user@bucket/x", "s3://a_b/x"),
        *("s3://bucket/../other", "s3://bucket/a//b", "s3://bucket/./a", "s3://bucket/a?x"),
        *("file://host/a", "file:relative", "file:///a?x", "file:///a%00b", "file://"),
        *(
            "https://adapters.test/a.zip\n",
            "https://adapters.test/\x00.zip",
            "s3://bucket/" + "a" * 5000,
        ),
    ],
)
def test_anything_else_is_refused(source):
    with pytest.raises(InvalidSource):
        parse_source(source)


def test_a_branch_is_refused_with_the_reason():
    with pytest.raises(InvalidSource, match="can be moved"):
        parse_source("hf://org/repo@main")


def allowed(source: str, **settings: object) -> bool:
    try:
        check_allowed(parse_source(source), SourceSettings(**settings))
    except SourceNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "source",
    [f"hf://org/repo@{COMMIT}", "s3://bucket/a", "https://a.test/a.zip", "file:///a"],
)
def test_every_kind_is_off_by_default(source):
    with pytest.raises(SourceNotAllowed, match="is not allowed on this server"):
        check_allowed(parse_source(source), SourceSettings())


def test_a_star_stays_within_its_part():
    hub = f"hf://my-org/repo@{COMMIT}"
    assert allowed(hub, hf=("my-org/*",))
    assert allowed(hub, hf=("other/x", "*/repo"))
    assert not allowed(hub, hf=("my-*/x", "other/*"))
    assert allowed("s3://bucket/team/a/b", s3=("bucket/team/*",))
    assert allowed("s3://bucket/anything", s3=("bucket",))
    assert not allowed("s3://bucket/teams/a", s3=("bucket/team/*",))
    assert not allowed("s3://bucket-2/team/a", s3=("bucket/*", "*/other/*"))
    assert allowed("https://a.b.test/x.zip", https=("*.test",))
    assert not allowed("https://a.test.evil.org/x.zip", https=("*.test",))
    assert not allowed("https://eviltest/x.zip", https=("*.test",))
    assert not allowed("https://a.test:8443/x.zip", https=("*",))
    assert allowed("https://a.test:8443/x.zip", https=("*",), https_ports=(8443,))


@pytest.mark.parametrize(
    "settings",
    [
        *({"hf": ("my-org",)}, {"hf": ("a/b/c",)}, {"https": ("https://a.test",)}),
        *({"s3": ("s3://b/x",)}, {"s3": ("",)}, {"https": ("a.test/x",)}),
        *({"hf_endpoint": "http://hub.test"}, {"hf_endpoint": "https://u@hub.test"}),
        *({"private_networks": ("10.0.0.0/33",)}, {"htps": ()}),
    ],
)
def test_a_setting_that_means_nothing_is_refused(settings):
    with pytest.raises(ValidationError):
        SourceSettings(**settings)
