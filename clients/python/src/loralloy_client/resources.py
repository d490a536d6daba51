"""What the server holds, and what it says of itself, as typed values."""

from __future__ import annotations

from pydantic import Field

from loralloy_client.generations import AppliedMixture, Record


class Routing(Record):
    """What the router knows of an adapter.

    Attributes:
        examples: how many texts it is for.
        centroids: how many points of the encoder's space stand for it; without any, no policy
            chooses it by score.
    """

    description: str | None
    examples: int
    first_examples: list[str]
    has_centroid: bool
    centroids: int
    encoder: str | None


class Adapter(Record):
    """An adapter on the server.

    Attributes:
        id: its name, which requests give as ``model``.
        digest: of its content: equal for equal weights.
        parent: the base model's name.
        version: number of this content among those that the name has had.
        state: ``serving``, or ``removing``: it takes no new requests and does not come back.
        resident: whether it is in a slot of the engine now.
        leases: running requests that use it.
        warnings: what the server noticed about the upload of this version.
    """

    id: str
    digest: str
    version: int
    created: int
    parent: str
    base_model: str | None
    rank: int
    ranks: list[int]
    lora_alpha: float
    target_modules: list[str]
    size_bytes: int
    parameters: int
    resident: bool
    leases: int
    routing: Routing
    warnings: list[str] = Field(default_factory=list)
    state: str = "serving"


class AdapterVersion(Record):
    """A content that an adapter has, or had."""

    number: int
    digest: str
    created: int
    warnings: list[str] = Field(default_factory=list)


class Policy(Record):
    """A policy; its options are attributes too, such as ``temperature``.

    Attributes:
        source: ``api`` if it was put over HTTP, ``file`` if it is of the server's file.
    """

    id: str
    version: str
    kind: str
    source: str | None = None
    description: str | None = None
    scope: str = "prompt"
    combination: str = "cat"


class PolicyVersion(Record):
    """A version that a policy has, or had; its options can be put again."""

    number: int
    version: str
    created: int
    options: dict[str, object]


class RemovedPolicy(Record):
    """What the server answers of a policy that is gone.

    Attributes:
        file_version: version of the file's policy of that name, which counts again; None if there
            is none.
    """

    id: str
    deleted: bool
    file_version: str | None


class Model(Record):
    """A name that requests can give as ``model``; ``kind`` is base, adapter or policy."""

    id: str
    created: int
    parent: str | None
    kind: str
    max_model_len: int | None = None


class Member(Record):
    """An adapter's part in a mixture."""

    name: str
    digest: str
    weight: float


class Route(Record):
    """What a policy would do with a text.

    Attributes:
        text_window: the text that was embedded.
        fallback: what would answer in the policy's place, or None.
    """

    policy: str
    policy_version: str
    mixture: AppliedMixture
    members: list[Member]
    scores: dict[str, float]
    fallback: str | None
    text_window: str
    encode_ms: float
    weigh_ms: float
    total_ms: float


class Health(Record):
    """The server lives."""

    status: str


class Ready(Record):
    """The server serves: how many adapters it has, and how many of them are in slots.

    A server with API keys does not tell the numbers.
    """

    status: str
    adapters: int | None = None
    resident: int | None = None


class Job(Record):
    """An adapter that the server fetches or removes. Times: seconds since 1970 (UTC), or None.

    Attributes:
        kind: ``import`` or ``removal``.
        source: where it comes from, without the query of its address; empty for a removal.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        step: ``waiting``, ``fetching``, ``adding``, ``removing`` or ``ended``.
        bytes_total: bytes that will have come, or None while nobody knows.
        adapter: what it has brought or removed, once it is done.
        error: ``message``, ``type``, ``param`` and ``code`` of what it has failed at.
    """

    id: str
    name: str
    source: str
    state: str
    step: str
    created: float
    started: float | None
    ended: float | None
    bytes_done: int
    bytes_total: int | None
    adapter: Adapter | None
    error: dict[str, str | None] | None
    kind: str = "import"

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")


class RemovedAdapter(Record):
    """What the server answers of an adapter that is gone, or that is going.

    Attributes:
        deleted: whether it is gone; if not, running requests still use it.
        state: ``removing`` where it is going.
        job: ends with the removal where that takes long; ``client.jobs.wait(job.id)`` waits.
    """

    id: str
    digest: str
    deleted: bool
    state: str | None = None
    job: Job | None = None


class JobList(Record):
    """Every job."""

    data: list[Job]


class AuditEntry(Record):
    """What an admin did.

    Attributes:
        time: seconds since 1970 (UTC).
        actor: the id of the key that was used, ``cli``, or ``anonymous`` where none was needed.
        action: as ``adapter.add``.
        target: the name of what it was done to.
        outcome: ``done``, or the code of the error that it ended in.
        request_id: of the request that asked for it, or None.
    """

    id: int
    time: float
    actor: str
    action: str
    target: str
    outcome: str
    detail: dict[str, object]
    request_id: str | None


class AuditPage(Record):
    """Entries of the audit log, the latest first.

    Attributes:
        has_more: whether there are older ones, which ``before=data[-1].id`` gives.
    """

    data: list[AuditEntry]
    has_more: bool


class AdapterList(Record):
    """Every adapter."""

    data: list[Adapter]


class AdapterVersionList(Record):
    """The contents of one adapter."""

    data: list[AdapterVersion]


class PolicyList(Record):
    """Every policy."""

    data: list[Policy]


class PolicyVersionList(Record):
    """The versions of one policy."""

    data: list[PolicyVersion]


class ModelList(Record):
    """Every model."""

    data: list[Model]
