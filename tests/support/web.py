"""A web of the tests: HTTPS servers on the loopback whose certificates come from an authority."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Page = Callable[[BaseHTTPRequestHandler], None]
"""Writes the answer to a request."""

NAMES = ("adapters.test", "other.test", "hub.test", "cdn.test", "127.0.0.1", "127.0.0.2")


@dataclass
class Web:
    """One server under several names.

    Attributes:
        ca_file: of the authority, in PEM form.
        pages: path → what answers there.
        asked: the requests so far: host, path, headers.
        stopping: set when the server is to go: pages that take their time wait for it.
    """

    port: int
    ca_file: Path
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "adapters.test") -> str:
        """Its address under a name."""
        return f"https://{host}:{self.port}{path}"

    def gives(self, path: str, content: bytes, status: int = 200, **headers: str) -> None:
        """Answer with a content."""

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in {"Content-Length": str(len(content)), **given}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(content)

        self.pages[path] = page

    def drips(self, path: str, every_s: float) -> threading.Event:
        """Answer with a byte now and then, for ever; gives what is set at the first one."""
        began = threading.Event()

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
            while not self.stopping.is_set():
                request.wfile.write(b"x")
                began.set()
                self.stopping.wait(every_s)

        self.pages[path] = page
        return began

    def redirects(self, path: str, target: str, status: int = 302) -> None:
        """Answer with a redirect."""
        self.gives(path, b"", status, Location=target)


@contextmanager
def running_web(folder: Path) -> Iterator[Web]:
    """Start a server; it is gone when the block is left."""
    ca_file, chain = make_certificates(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append((self.headers["Host"], self.path, dict(self.headers)))
            self.close_connection = True
            page = web.pages.get(self.path.partition("?")[0])
            try:
                if page is None:
                    self.send_error(404)
                else:
                    page(self)
            except OSError:
                return  # the client has gone

        def log_message(self, format: str, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing the server waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a client that distrusts the certificate, or has gone

        def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = Server(("127.0.0.1", 0), Handler)
    web = Web(server.server_address[1], ca_file)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="web", daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority, and a server's key with its certificate for all names: two PEM files."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The tests' authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
    authority = (
        _certificate(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        for name in NAMES
    ]
    server = (
        _certificate(subject, issuer, server_key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_file, chain = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(authority.public_bytes(pem))
    private = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + server.public_bytes(pem))
    return ca_file, chain


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
