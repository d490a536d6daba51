"""From our requests to the arguments of httpx, for both of its clients."""

from __future__ import annotations

from typing import Any

from loralloy_client._config import Config, timeouts
from loralloy_client._requests import Request


def arguments(request: Request, config: Config, timeout: float | None) -> dict[str, Any]:
    """What ``build_request`` is to be called with; the content of a form is not in it.

    Args:
        request: what to send.
        config: where to.
        timeout: seconds for each read or write, where the request says nothing.
    """
    headers = {**config.headers, **request.headers}
    if request.form is not None:
        headers["Content-Type"] = request.form.content_type
        headers["Content-Length"] = str(request.form.length)
    return {
        "method": request.method,
        "url": config.url + request.path,
        "params": dict(request.query) or None,
        "json": request.body,
        "headers": headers,
        "timeout": timeouts(request.timeout, default=timeout),
    }
