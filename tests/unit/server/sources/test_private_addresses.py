"""No spelling, no name, no redirect and no second look-up leads a fetch into a private network."""

import ipaddress
from dataclasses import replace

import pytest

from server.errors import InvalidSource, SourceAddressRefused, SourceNotAllowed, SourceUnavailable
from server.sources.network import is_public
from tests.unit.server.sources.conftest import PAIR, ZIP

pytestmark = pytest.mark.usefixtures("nothing_stays")

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "0.0.0.0"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1"),
    *("2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "100::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::"),
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_no_public_network_is_private(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_open_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_one_is_refused(web, fetcher, fetched, addresses, address):
    addresses["adapters.test"] = [address]
    web.gives("/a.zip", ZIP)
    with pytest.raises(SourceAddressRefused) as caught:
        fetched(fetcher(private_networks=()), web.url("/a.zip"))
    assert address.partition("%")[0] not in str(caught.value)
    assert web.asked == []


def test_one_private_address_among_public_ones_refuses_the_name(web, fetcher, fetched, addresses):
    addresses["adapters.test"] = ["1.1.1.1", "10.0.0.1"]
    with pytest.raises(SourceAddressRefused):
        fetched(fetcher(), web.url("/a.zip"))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "169.254.169.254"])
def test_an_address_in_place_of_a_name_is_checked_as_well(web, fetcher, fetched, host, addresses):
    addresses[host.strip("[]")] = [host.strip("[]")]
    with pytest.raises(SourceAddressRefused):
        fetched(fetcher(https=("*",), private_networks=()), web.url("/a.zip", host))
    assert web.asked == []


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.1", "127.0.0.1."]
)
def test_an_unusual_spelling_is_no_source(web, fetcher, fetched, host):
    with pytest.raises(InvalidSource):
        fetched(fetcher(https=("*",)), web.url("/a.zip", host))


def test_the_machines_own_resolver_is_checked_as_well(web, fetcher, fetched):
    """Without the tests' resolver: ``localhost`` really is the loopback."""
    from server.sources.fetch import Fetcher

    made = fetcher(https=("*",), private_networks=())
    with pytest.raises(SourceAddressRefused):
        fetched(Fetcher(made.settings, made._limits), web.url("/a.zip", "localhost"))
    assert web.asked == []


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1"])
def test_a_redirect_to_one_is_refused_though_its_host_is_allowed(
    web, fetcher, fetched, addresses, address
):
    """Also where the first host may be private: what it names next is not the settings' word."""
    addresses["other.test"] = [address]
    web.gives("/b.zip", ZIP)
    web.redirects("/a.zip", web.url("/b.zip", "other.test"))
    with pytest.raises(SourceAddressRefused):
        fetched(fetcher(https=("*.test",)), web.url("/a.zip"))
    assert [path for _, path, _ in web.asked] == ["/a.zip"]


def test_a_name_is_looked_up_once_for_each_connection(web, fetcher, fetched):
    """A second look-up that says something else (DNS rebinding) has no one to tell it to."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    made = fetcher()
    made._web = replace(made._web, resolve=rebinding)
    web.gives("/a.zip", ZIP)
    assert fetched(made, web.url("/a.zip")) == dict(PAIR)
    assert asked == ["adapters.test"]


def test_a_host_without_an_address_is_told(web, fetcher, fetched, addresses):
    addresses["adapters.test"] = []
    with pytest.raises(SourceUnavailable):
        fetched(fetcher(), web.url("/a.zip"))


def test_no_proxy_of_the_environment_is_used(web, fetcher, fetched, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web.gives("/a.zip", ZIP)
    assert fetched(fetcher(), web.url("/a.zip")) == dict(PAIR)


def test_a_port_that_is_not_listed_is_refused(web, fetcher, fetched):
    web.gives("/a.zip", ZIP)
    with pytest.raises(SourceNotAllowed, match="port"):
        fetched(fetcher(https_ports=(443,)), web.url("/a.zip"))
    assert web.asked == []
