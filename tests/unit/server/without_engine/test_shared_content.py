"""One content under two names, one of which is being removed."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.bare_server import BareServer


def leased(server: BareServer, digest: str) -> list[str]:
    """Hold a content as a request with a long answer does."""
    server.http.portal.call(server.parts.residency.acquire, [digest])
    return [digest]


def wait_until_unnamed(server: BareServer, name: str) -> None:
    end = time.monotonic() + 10
    while name in server.parts.catalogue.names.adapters:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_name_has_the_content_of_one_that_goes_at_once(server, tiny_adapters):
    """It said 404 until the other's running requests had ended."""
    digest = server.push("old", tiny_adapters["r8-a"])["digest"]
    held = leased(server, digest)
    with ThreadPoolExecutor() as pool:
        removal = pool.submit(server.http.delete, "/v1/adapters/old")
        wait_until_unnamed(server, "old")
        assert not removal.done(), "it waits for the answer"
        server.push("new", tiny_adapters["r8-a"])
        assert server.applied(model="new")["reached"] == [["new", digest, 1.0]]
        assert removal.result(10).status_code == 200, "the content stays: nothing to wait for"
    server.http.portal.call(server.parts.residency.release, held)
    assert server.applied(model="new")["reached"] == [["new", digest, 1.0]]
    assert server.http.get("/v1/adapters/old").status_code == 404


def test_a_version_that_becomes_the_content_of_one_that_goes_is_there_at_once(
    server, tiny_adapters
):
    digest = server.push("old", tiny_adapters["r8-a"])["digest"]
    server.push("mine", tiny_adapters["r16"])
    held = leased(server, digest)
    with ThreadPoolExecutor() as pool:
        removal = pool.submit(server.http.delete, "/v1/adapters/old")
        wait_until_unnamed(server, "old")
        server.replace("mine", tiny_adapters["r8-a"])
        for name in ("mine", f"mine@{digest}"):
            assert server.applied(model=name)["reached"][0][1] == digest
        assert removal.result(10).status_code == 200
    server.http.portal.call(server.parts.residency.release, held)


def test_a_content_that_goes_for_good_is_lent_to_no_request(server, tiny_adapters):
    """Its name is read, and it goes before it is leased: twice, and then the request is refused."""
    digest = server.push("mine", tiny_adapters["r8-a"])["digest"]
    portal, residency = server.http.portal, server.parts.residency
    portal.call(residency.set_names, {})
    with portal.wrap_async_context_manager(residency.removing(digest)):
        answer = server.http.post("/v1/completions", json={"model": "mine", "prompt": "one"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "adapter_removing")
        assert residency.leases == 0
    assert server.applied(model="mine")["reached"] == [["mine", digest, 1.0]]
