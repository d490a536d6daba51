"""HTTP for the commands that talk to a running server."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from server.cli.messages import CommandError

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
_ANSWER_S = 600.0
_CONNECT_S = 5.0
_FIRST_ERROR = 400

URL = typer.Option(DEFAULT_URL, "--url", envvar="LORALLOY_URL", help="Address of the server.")
KEY = typer.Option(
    None, "--api-key", envvar="LORALLOY_API_KEY", help="API key, if the server wants one."
)


def path_of(collection: str, name: str) -> str:
    """The path of one thing of a collection, such as ``/v1/adapters``.

    Raises:
        CommandError: no path can hold such a name.
    """
    try:
        return f"{collection}/{quote(name, safe='')}"
    except UnicodeEncodeError:
        raise CommandError(f"{name!r} is not valid Unicode, and so no name") from None


def if_match(version: str | None) -> dict[str, str]:
    """The header that binds a change to the digest or version that was seen; None binds nothing."""
    return {} if version is None else {"If-Match": f'"{version}"'}


class Client:
    """A server, seen from a command; every failure becomes one line."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = headers

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON behind a path."""
        return self._call("GET", path)

    def delete(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The answer to a removal."""
        return self._call("DELETE", path)

    def post(self, path: str, **body: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer to a JSON body (``json=``) or a form (``data=``, ``files=``)."""
        return self._call("POST", path, **body)

    def send(self, method: str, path: str, **body: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer to any other method; ``headers=`` besides what :meth:`post` takes."""
        return self._call(method, path, **body)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of a streamed answer."""
        with (
            self._session() as session,
            session.stream("POST", self._url + path, json=dict(body)) as response,
        ):
            if response.status_code >= _FIRST_ERROR:
                response.read()
                raise CommandError(_message(response))
            for line in _lines(response.iter_bytes()):
                data = line.removeprefix(b"data: ")
                if data == line or data == b"[DONE]":
                    continue
                chunk = json.loads(data)
                if "error" in chunk:
                    raise CommandError(str(chunk["error"].get("message")))
                yield chunk

    def _call(self, method: str, path: str, **body: Any) -> Any:  # noqa: ANN401 - JSON
        with self._session() as session:
            response = session.request(method, self._url + path, **body)
            if response.status_code >= _FIRST_ERROR:
                raise CommandError(_message(response))
            return response.json()

    @contextmanager
    def _session(self) -> Iterator["httpx.Client"]:
        # A third of a second that `loralloy --help` need not wait for.
        import httpx

        timeout = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
        try:
            with httpx.Client(headers=self._headers, timeout=timeout) as session:
                yield session
        except httpx.ConnectError:
            raise CommandError(
                f"no server answers at {self._url}; start one with: loralloy serve, or name one "
                "with --url"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CommandError(f"{self._url}: {error or type(error).__name__}") from None


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream, wherever its pieces break.

    A line ends where the protocol says so alone: a text may hold U+2028 or U+0085 as it is.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in lines)
    yield rest


def _message(response: "httpx.Response") -> str:
    """The message of an error answer."""
    try:
        error = response.json()["error"]
        return f"{error['message']} ({error['code']})"
    except (ValueError, KeyError, TypeError):
        return f"the server answered {response.status_code}; is it a Loralloy server?"
