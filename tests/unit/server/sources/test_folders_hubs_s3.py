"""The other three kinds: a folder of the machine, a hub, and S3; each with what must not work."""

import os

import pytest

from adapters.errors import MissingFile, TooLarge, UnsafeFile
from adapters.limits import Limits
from server.errors import JobCancelled, SourceNotAllowed, SourceNotFound, SourceUnavailable
from server.sources.progress import FetchProgress
from tests.unit.server.sources.conftest import COMMIT, CONFIG, PAIR, TAR, WEIGHTS, ZIP

SECRET = [(CONFIG, b"{}"), (WEIGHTS, b"of somebody else")]


def fill(folder, pair=PAIR):
    folder.mkdir(parents=True)
    for name, content in pair:
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def root(tmp_path):
    """The allowed folder, with an adapter; beside it lies what must not be reached."""
    fill(tmp_path / "beside" / "a", SECRET)
    fill(tmp_path / "root-2" / "a", SECRET)
    fill(tmp_path / "root" / "a")
    return tmp_path / "root"


@pytest.fixture
def from_root(root, fetcher, fetched):
    return lambda path, **options: fetched(fetcher(file=root), f"file://{path}", **options)


def test_a_folder_and_an_archive_come(root, from_root):
    (root / "a.zip").write_bytes(ZIP)
    (root / "b.tar.gz").write_bytes(TAR)
    for path in ("a", "a.zip", "b.tar.gz", "./a/", "a/../a"):
        assert from_root(f"{root}/{path}") == dict(PAIR)


def test_links_that_stay_below_the_root_are_followed(root, from_root):
    (root / "b").symlink_to("a")
    fill(root / "hub", [])
    for name, _ in PAIR:
        (root / "hub" / name).symlink_to(root / "a" / name)
    assert from_root(f"{root}/b") == from_root(f"{root}/hub") == dict(PAIR)


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/..", "/../beside/a", "/a/../../beside/a", "-2/a", "/../root-2/a", "/%2e%2e"),
        *("/out", "/out/a", "/out-file/../a", "/deep/out/a", "/linked", "/gone"),
    ],
)
def test_nothing_outside_is_reached_by_dots_or_links(root, from_root, path):
    (root / "out").symlink_to(root.parent / "beside")
    (root / "out-file").symlink_to("/etc/passwd")
    fill(root / "deep", [])
    (root / "deep" / "out").symlink_to("../../beside")
    fill(root / "linked", PAIR[:1])
    (root / "linked" / WEIGHTS).symlink_to(root.parent / "beside" / "a" / WEIGHTS)
    (root / "gone").symlink_to("/nowhere/at/all")
    with pytest.raises(SourceNotAllowed):
        from_root(f"{root}{path}")


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/nowhere.zip", "/dev/zero"])
def test_elsewhere_is_refused_whether_it_exists_or_not(from_root, path):
    with pytest.raises(SourceNotAllowed) as caught:
        from_root(path)
    assert path not in str(caught.value)


@pytest.mark.usefixtures("nothing_stays")
def test_a_link_that_comes_while_a_path_is_walked_leads_nowhere(
    root, fetcher, fetched, monkeypatch
):
    """The race: what was a folder when it was checked is a link when it is opened."""
    real = os.path.realpath
    calls = []

    def racing(path, **options):
        found = real(path, **options)
        calls.append(str(path))
        if str(path).endswith(f"a/{WEIGHTS}") and not (root / "a").is_symlink():
            (root / "a").rename(root / "was-a")
            (root / "a").symlink_to(root.parent / "beside" / "a")
        return found

    monkeypatch.setattr(os.path, "realpath", racing)
    with pytest.raises(UnsafeFile):
        fetched(fetcher(file=root), f"file://{root}/a")
    assert calls


@pytest.mark.usefixtures("nothing_stays")
def test_what_is_no_plain_file_is_refused(root, from_root):
    fill(root / "pipe", PAIR[:1])
    os.mkfifo(root / "pipe" / WEIGHTS)
    fill(root / "folder", PAIR[:1])
    (root / "folder" / WEIGHTS).mkdir()
    for path in ("pipe", "folder"):
        with pytest.raises(UnsafeFile):
            from_root(f"{root}/{path}")
    fill(root / "half", PAIR[:1])
    with pytest.raises(MissingFile):
        from_root(f"{root}/half")
    for path in ("none", "none.zip", "a/adapter_config.json", "x" * 300):
        with pytest.raises(SourceNotFound):
            from_root(f"{root}/{path}")


def test_a_file_beyond_the_limit_is_refused(root, fetcher, fetched):
    with pytest.raises(TooLarge):
        fetched(fetcher(Limits(max_weights_bytes=100), file=root), f"file://{root}/a")


# Hubs: the few addresses that a hub answers at, on the tests' web.


@pytest.fixture
def hub(web):
    for name, content in PAIR:
        web.gives(f"/org/repo/resolve/{COMMIT}/sub/{name}", content)
    return {
        "hf": ("org/*",),
        "hf_endpoint": f"https://hub.test:{web.port}",
        "hf_token": "hf-secret",
    }


@pytest.mark.usefixtures("nothing_stays")
def test_a_hub_is_asked_for_two_files_of_the_commit_and_nothing_else(web, hub, fetcher, fetched):
    assert fetched(fetcher(**hub), f"hf://org/repo@{COMMIT}/sub") == dict(PAIR)
    assert [path.rpartition("/")[2] for _, path, _ in web.asked] == [CONFIG, WEIGHTS]
    assert all(headers["Authorization"] == "Bearer hf-secret" for *_, headers in web.asked)


def test_a_hubs_redirect_is_followed_without_the_token(web, hub, fetcher, fetched, addresses):
    """As large files are given: from a store elsewhere. Its port is the usual one, or the hub's."""
    web.redirects(f"/org/repo/resolve/{COMMIT}/sub/{WEIGHTS}", web.url("/big", "hub.test"), 307)
    web.gives("/big", b"from the store")
    made = fetcher(**hub)
    assert fetched(made, f"hf://org/repo@{COMMIT}/sub")[WEIGHTS] == b"from the store"
    web.redirects(f"/org/repo/resolve/{COMMIT}/sub/{WEIGHTS}", "https://cdn.test/big")
    with pytest.raises(SourceNotAllowed, match=r"cdn\.test:443"):
        fetched(made, f"hf://org/repo@{COMMIT}/sub")
    addresses["cdn.test"] = ["10.0.0.1"]
    with pytest.raises(SourceNotAllowed, match="not public"):
        fetched(fetcher(**hub, hf_hosts=("cdn.test",)), f"hf://org/repo@{COMMIT}/sub")


def test_a_secret_is_sent_to_its_own_place_alone(web, fetcher, tmp_path):
    """The store that a hub redirects to is asked without the hub's token."""
    from server.sources.address import parse_https
    from server.sources.download import Hops, download

    web.redirects("/a", web.url("/b", "127.0.0.1"))
    web.gives("/b", b"content")
    made = fetcher()
    hops = Hops(("127.0.0.1",), (web.port,), {"Authorization": "Bearer hf-secret"})
    with pytest.raises(SourceNotAllowed):  # another host may not be private
        download(parse_https(web.url("/a")), tmp_path / "x", 99, made._web, hops, FetchProgress(9))
    reached = []
    backend_may = "server.sources.network.CheckedBackend._may"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_may, lambda self, host, address: reached.append(host) or True)
        download(parse_https(web.url("/a")), tmp_path / "y", 99, made._web, hops, FetchProgress(9))
    first, second = web.asked[-2:]
    assert reached == ["adapters.test", "127.0.0.1"]
    assert "Authorization" in first[2]
    assert "Authorization" not in second[2]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (f"hf://org/none@{COMMIT}", SourceNotFound),
        (f"hf://other/repo@{COMMIT}", SourceNotAllowed),
        (f"hf://org/pickled@{COMMIT}", MissingFile),
    ],
)
def test_what_a_hub_does_not_have_is_told(web, hub, fetcher, fetched, source, error):
    web.gives(f"/org/pickled/resolve/{COMMIT}/{CONFIG}", b"{}")
    web.gives(f"/org/pickled/resolve/{COMMIT}/adapter_model.bin", b"evil")
    with pytest.raises(error):
        fetched(fetcher(**hub), source)
    assert not any(path.endswith(".bin") for _, path, _ in web.asked)


# S3: a real server of its own.


@pytest.fixture
def bucket(s3):
    """A bucket with an adapter and archives."""
    name = s3.new_bucket()
    files = s3.files()
    for file, content in PAIR:
        files.pipe_file(f"{name}/team/a/{file}", content)
    files.pipe_file(f"{name}/team/a.zip", ZIP)
    files.pipe_file(f"{name}/team/half/{CONFIG}", b"{}")
    files.pipe_file(f"{name}/secret/a.zip", ZIP)
    return name


@pytest.fixture
def from_s3(s3, bucket, fetcher, fetched):
    def fetch(key, progress=None, limits=None, options=None, name=bucket):
        made = fetcher(limits, s3=(f"{bucket}/team/*",), s3_options=options or dict(s3.options))
        return fetched(made, f"s3://{name}/{key}", progress)

    return fetch


def test_objects_and_an_archive_come(from_s3):
    progress = FetchProgress(20)
    assert from_s3("team/a", progress) == dict(PAIR)
    assert progress.bytes_done == progress.bytes_total == sum(len(content) for _, content in PAIR)
    assert from_s3("team/a.zip") == dict(PAIR)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("team/none", SourceNotFound),
        ("team/none.zip", SourceNotFound),
        ("team/half", MissingFile),
        ("secret/a.zip", SourceNotAllowed),
        ("teams/a", SourceNotAllowed),
    ],
)
def test_what_s3_does_not_have_or_may_not_give_is_told(from_s3, key, error):
    with pytest.raises(error):
        from_s3(key)


def test_another_bucket_is_refused(from_s3, s3):
    with pytest.raises(SourceNotAllowed):
        from_s3("team/a", name=s3.new_bucket())


def test_an_object_beyond_the_limit_is_refused(from_s3):
    with pytest.raises(TooLarge):
        from_s3("team/a", limits=Limits(max_weights_bytes=100))


def test_a_cancelled_fetch_from_s3_ends(from_s3):
    progress = FetchProgress(20)
    progress.cancel()
    with pytest.raises(JobCancelled):
        from_s3("team/a", progress)


def test_s3_that_does_not_answer_is_told_without_its_address(from_s3):
    options = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s3-secret"}
    with pytest.raises(SourceUnavailable) as caught:
        from_s3("team/a", FetchProgress(20), options=options)
    assert "127.0.0.1" not in str(caught.value)
    assert "s3-secret" not in str(caught.value)
