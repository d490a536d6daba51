"""Archives over HTTPS, from a real server: what comes, what is refused, and what it leaves."""

import threading

import pytest

from adapters.errors import InvalidAdapter, TooLarge
from adapters.limits import Limits
from server.errors import (
    JobCancelled,
    SourceNotAllowed,
    SourceNotFound,
    SourceTooSlow,
    SourceUnavailable,
)
from server.sources.progress import FetchProgress
from tests.support.archives import symlink_zip_entry, zip_of
from tests.unit.server.sources.conftest import CONFIG, PAIR, TAR, WEIGHTS, ZIP

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.mark.parametrize(("path", "content"), [("/a.zip", ZIP), ("/b/a.tar.gz", TAR)])
def test_an_archive_comes_whole_and_is_counted(web, fetcher, fetched, path, content):
    web.gives(path, content)
    progress = FetchProgress(20)
    assert fetched(fetcher(), web.url(path), progress) == dict(PAIR)
    assert (progress.bytes_done, progress.bytes_total) == (len(content), len(content))
    host, _, headers = web.asked[0]
    assert host == f"adapters.test:{web.port}"
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


def test_a_query_is_sent_and_a_body_of_pieces_is_read(web, fetcher, fetched):
    def page(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for at in range(0, len(ZIP), 1000):
            piece = ZIP[at : at + 1000]
            request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        request.wfile.write(b"0\r\n\r\n")

    web.pages["/a.zip"] = page
    assert fetched(fetcher(), web.url("/a.zip?sig=x%2Fy")) == dict(PAIR)
    assert web.asked[0][1] == "/a.zip?sig=x%2Fy"


def test_a_certificate_of_an_unknown_authority_is_refused(web, fetcher, fetched):
    web.gives("/a.zip", ZIP)
    with pytest.raises(SourceUnavailable, match="certificate is not trusted"):
        fetched(fetcher(ca_file=None), web.url("/a.zip"))
    assert web.asked == []


def test_a_certificate_of_another_host_is_refused(web, fetcher, fetched):
    web.gives("/a.zip", ZIP)
    with pytest.raises(SourceUnavailable, match="certificate is not trusted"):
        fetched(fetcher(https=("*",)), web.url("/a.zip", "unknown.test"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((404, SourceNotFound), (403, SourceNotFound), (401, SourceNotFound)),
        *((500, SourceUnavailable), (204, SourceUnavailable), (206, SourceUnavailable)),
        *((304, SourceUnavailable), (300, SourceUnavailable)),
    ],
)
def test_a_refusal_is_told_apart_from_a_failure(web, fetcher, fetched, status, error):
    web.gives("/a.zip", b"", status)
    with pytest.raises(error):
        fetched(fetcher(), web.url("/a.zip"))


def test_a_redirect_is_followed_to_allowed_hosts_alone(web, fetcher, fetched, addresses):
    web.gives("/a.zip", ZIP)
    web.redirects("/same.zip", "/a.zip", 307)
    web.redirects("/far.zip", web.url("/a.zip", "other.test"))
    web.redirects("/round.zip", "/round.zip")
    assert fetched(fetcher(), web.url("/same.zip")) == dict(PAIR)
    for path, error, told in (
        ("/far.zip", SourceNotAllowed, "redirects to other.test"),
        ("/round.zip", SourceUnavailable, "more than 5"),
    ):
        with pytest.raises(error, match=told):
            fetched(fetcher(), web.url(path))


@pytest.mark.parametrize(
    "target",
    [
        *("http://adapters.test/a.zip", "file:///etc/passwd", "//other.test/a.zip", "gopher://x/"),
        *("https://169.254.169.254/latest/meta-data/", "https://2130706433/a.zip"),
        *(
            "https://[::ffff:127.0.0.1]/a.zip",
            "https://localhost/a.zip",
            "https://user@other.test/",
        ),
    ],
)
def test_a_redirect_to_elsewhere_is_refused(web, fetcher, fetched, target):
    web.redirects("/a.zip", target)
    with pytest.raises(SourceNotAllowed):
        fetched(fetcher(), web.url("/a.zip"))
    assert len(web.asked) == 1


def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read(web, fetcher, fetched):
    web.gives("/a.zip", ZIP, Content_Length=str(10**12))
    progress = FetchProgress(20)
    with pytest.raises(TooLarge):
        fetched(fetcher(), web.url("/a.zip"), progress)
    assert progress.bytes_done == 0


def endless(request):
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"10000\r\n" + bytes(2**16) + b"\r\n")


def test_an_endless_body_ends_at_the_limit(web, fetcher, fetched):
    web.pages["/a.zip"] = endless
    progress = FetchProgress(20)
    with pytest.raises(TooLarge):
        fetched(fetcher(Limits(max_weights_bytes=2**20)), web.url("/a.zip"), progress)
    assert progress.bytes_done <= 2**20


def test_a_body_shorter_than_announced_is_no_adapter(web, fetcher, fetched):
    web.gives("/a.zip", ZIP[:-100], Content_Length=str(len(ZIP)))
    with pytest.raises(SourceUnavailable, match="broke off"):
        fetched(fetcher(), web.url("/a.zip"))


def test_what_is_not_http_is_told(web, fetcher, fetched):
    web.pages["/a.zip"] = lambda request: request.wfile.write(b"\x00" * 100_000)
    with pytest.raises(SourceUnavailable):
        fetched(fetcher(), web.url("/a.zip"))


def test_a_slow_body_ends_with_the_time(web, fetcher, fetched):
    web.drips("/a.zip", 0.05)
    with pytest.raises(SourceTooSlow):
        fetched(fetcher(), web.url("/a.zip"), FetchProgress(1))


def test_silence_ends_with_the_wait(web, fetcher, fetched):
    web.drips("/a.zip", 600)
    with pytest.raises(SourceUnavailable, match="stopped answering"):
        fetched(fetcher(max_wait_s=1), web.url("/a.zip"))


def test_cancelling_ends_a_silent_fetch(web, fetcher, fetched):
    began = web.drips("/a.zip", 600)
    progress = FetchProgress(600)

    def cancel() -> None:
        began.wait()
        progress.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(JobCancelled):
        fetched(fetcher(max_wait_s=600), web.url("/a.zip"), progress)
    canceller.join()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"Rar!", "adapter_malformed"),
        (b"", "adapter_malformed"),
        (zip_of([*PAIR, ("../evil", b"x")]), "adapter_unsafe_archive"),
        (zip_of([PAIR[0], (symlink_zip_entry(WEIGHTS), b"/etc/passwd")]), "adapter_unsafe_archive"),
        (zip_of([PAIR[0], ("adapter_model.bin", b"x")]), "adapter_unsafe_file"),
        (zip_of([(CONFIG, b" " * 2**23), PAIR[1]]), "adapter_too_large"),
        (zip_of(PAIR[:1]), "adapter_missing_file"),
    ],
)
def test_an_archive_is_read_as_an_uploads_is(web, fetcher, fetched, content, code):
    web.gives("/a.zip", content)
    with pytest.raises(InvalidAdapter) as caught:
        fetched(fetcher(), web.url("/a.zip"))
    assert caught.value.code == code
