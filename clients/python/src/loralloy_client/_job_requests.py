"""What the methods of jobs send, and what the end of a job stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loralloy_client._options import RoutingData
from loralloy_client._replies import error_in_stream
from loralloy_client._requests import Request, check_known, get, path_of
from loralloy_client._retry import Repeat
from loralloy_client.errors import JobCancelled, UnexpectedAnswer
from loralloy_client.resources import Adapter, Job


def import_adapter(name: str, source: str, replace: bool, routing: RoutingData) -> Request:
    """The beginning of an import.

    Raises:
        ValueError: examples are given as a file.
    """
    check_known(routing, RoutingData.__optional_keys__)
    given: Mapping[str, Any] = {key: value for key, value in routing.items() if value is not None}
    if any(isinstance(value, Path) for value in given.values()):
        raise ValueError("an import takes examples as texts, not as a file")
    body = {"name": name, "source": source, **({"replace": True} if replace else {}), **given}
    return Request("POST", "/v1/imports", body=body, repeat=Repeat.UNLESS_SENT)


def jobs() -> Request:
    """Every job."""
    return get("/v1/jobs")


def job(job_id: str) -> Request:
    """One job."""
    return get("/v1/jobs", job_id)


def cancel(job_id: str) -> Request:
    """The end of a job."""
    return Request("DELETE", path_of("/v1/jobs", job_id))


def brought(job: Job) -> Adapter:
    """The adapter of a job that has ended.

    Raises:
        JobCancelled: it was cancelled.
        LoralloyError: what it has failed at.
    """
    if job.state == "cancelled":
        raise JobCancelled("the job was cancelled")
    if job.error is not None:
        raise error_in_stream(job.error, None)
    if job.adapter is None:
        raise UnexpectedAnswer(f"job {job.id} has ended as {job.state!r} without an adapter")
    return job.adapter
