"""Why a server refused a request: both pushing an adapter and evaluating on a server say it."""

import httpx


def refusal(answer: httpx.Response) -> str:
    """The message of an error's answer, or its status where it has none (a proxy's page)."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {answer.status_code}"
