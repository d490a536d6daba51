"""What can go wrong between the wire and the engine, as one tree of errors.

    ServerError
    ├── InvalidSettings          the server cannot be started like this
    ├── InvalidRequest           a field of the request has no sensible value
    │   ├── MalformedJson            the body is not a JSON object
    │   ├── UnsupportedParameter     a field that this server does not honour
    │   ├── PromptNotText            a policy was asked to route what is not text
    │   ├── InvalidSource            a source of an adapter that cannot be read
    │   └── InvalidMixture           a mixture that cannot be read
    │       ├── MixtureConflict          two fields say different things
    │       ├── EmptyMixture             no adapter is named
    │       ├── InvalidWeight            negative, not finite or huge
    │       ├── RanksDiffer              a linear combination of unlike ranks
    │       └── MixtureTooLarge          more members than the engine has slots
    ├── ModelNotFound            no base model, adapter or policy of that name
    ├── AdapterBeingRemoved      the adapter is being removed
    ├── NameBeingRemoved         so its name cannot be given new content yet
    ├── PolicyNameTaken          the base model or an adapter has the name
    ├── PolicyNotRemovable       the policy is of the file of policies
    ├── PolicyVersionConflict    the policy's version is not the expected one
    ├── TraceNotFound            no trace under that request id
    ├── SourceNotAllowed         the settings do not allow this source
    │   └── SourceAddressRefused     its host, or a redirect, leads to a private address
    ├── SourceNotFound           the source has no such adapter
    ├── SourceUnavailable        the source does not answer, or not as it should
    │   └── SourceTooSlow            it takes longer than is waited for
    ├── JobNotFound              no job of that id
    ├── JobCancelled             the job was cancelled
    ├── TooManyJobs              as many jobs as are kept have not ended
    ├── Unauthorized             no API key, or a wrong one
    ├── CrossOrigin              a foreign web page calls a server without keys
    ├── ActionDenied             the API key does not allow it
    ├── RateLimited              the API key has sent too many requests lately
    ├── TooManyConcurrent        too many requests of the API key run at once
    ├── NotFound                 no route of that path
    ├── UnsupportedMediaType     the body comes in a form that is not taken here
    ├── BodyTooLarge             more bytes than the limits allow
    ├── BodyTooSlow              the body keeps the server waiting
    ├── AdaptersBusy             every slot is leased and the queue is full or slow
    ├── NotReady                 starting up or shutting down
    └── EngineUnavailable        the engine has died

Every class has a stable ``code``; :mod:`server.edge.errors.error_status` says which status it has
on the wire.
"""

from typing import ClassVar, Final

RESTART_S: Final = 60
"""After so many seconds a server that was restarted can serve again."""


class ServerError(Exception):
    """Root of everything that this package raises on purpose.

    Attributes:
        param: the request field at fault, or None.
        retry_after: seconds after which the same request may succeed, or None.
    """

    code: ClassVar[str] = "server_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after = retry_after


class InvalidSettings(ServerError):
    """The settings contradict each other or name what is not there."""

    code = "settings_invalid"


class InvalidRequest(ServerError):
    """A field of the request has the wrong type or no sensible value."""

    code = "invalid_request"


class MalformedJson(InvalidRequest):
    """The body is not a JSON object."""

    code = "invalid_json"


class UnsupportedParameter(InvalidRequest):
    """A field that this server does not honour, and must not ignore."""

    code = "unsupported_parameter"


class PromptNotText(InvalidRequest):
    """A policy weighs adapters by text, and the prompt is none."""

    code = "prompt_not_text"


class InvalidSource(InvalidRequest):
    """The address of a source cannot be read, or does not pin what it names."""

    code = "source_invalid"


class InvalidMixture(InvalidRequest):
    """A mixture that cannot be read."""

    code = "mixture_invalid"


class MixtureConflict(InvalidMixture):
    """Two fields of one request say which adapters it gets."""

    code = "mixture_conflict"


class EmptyMixture(InvalidMixture):
    """A mixture that names no adapter."""

    code = "mixture_empty"


class InvalidWeight(InvalidMixture):
    """A weight that is negative, not finite or beyond any sense."""

    code = "weight_invalid"


class RanksDiffer(InvalidMixture):
    """A linear combination adds the factors themselves, so ranks must be equal."""

    code = "mixture_ranks_differ"


class MixtureTooLarge(InvalidMixture):
    """More adapters at once than the engine has slots."""

    code = "mixture_too_large"


class ModelNotFound(ServerError):
    """No base model, adapter or policy of that name."""

    code = "model_not_found"


class AdapterBeingRemoved(ServerError):
    """The adapter is being removed and takes no further requests."""

    code = "adapter_removing"


class NameBeingRemoved(ServerError):
    """The adapter that has the name is being removed: nothing can be put under it yet."""

    code = "adapter_name_removing"


class PolicyNameTaken(ServerError):
    """The base model or an adapter has the name that a policy is to have."""

    code = "policy_name_taken"


class PolicyNotRemovable(ServerError):
    """The policy comes from the file of policies, which the server does not write."""

    code = "policy_not_removable"


class PolicyVersionConflict(ServerError):
    """The policy's version is not the expected one any more."""

    code = "policy_version_conflict"


class TraceNotFound(ServerError):
    """No trace under that request id: never made, somebody else's, or no longer kept."""

    code = "trace_not_found"


class SourceNotAllowed(ServerError):
    """The settings do not allow adapters to be fetched from there."""

    code = "source_not_allowed"


class SourceAddressRefused(SourceNotAllowed):
    """The source, or a redirect of it, leads to an address that is not public."""

    code = "source_address_refused"


class SourceNotFound(ServerError):
    """The source has no such adapter, or does not show it."""

    code = "source_not_found"


class SourceUnavailable(ServerError):
    """The source does not answer, or not as it should."""

    code = "source_unavailable"


class SourceTooSlow(SourceUnavailable):
    """The source takes longer than the limits allow."""

    code = "source_too_slow"


class JobNotFound(ServerError):
    """No job of that id: never there, or forgotten."""

    code = "job_not_found"


class JobCancelled(ServerError):
    """The job was cancelled before it had done anything that stays."""

    code = "job_cancelled"


class TooManyJobs(ServerError):
    """As many jobs as the limits allow have not ended yet."""

    code = "too_many_jobs"


class Unauthorized(ServerError):
    """The request carries no API key, or one that is not known."""

    code = "invalid_api_key"


class CrossOrigin(ServerError):
    """A web page of another origin calls a server that has no API keys."""

    code = "cross_origin_refused"


class ActionDenied(ServerError):
    """The API key is known, and does not allow what was asked."""

    code = "permission_denied"


class RateLimited(ServerError):
    """The API key has sent as many requests as it may for now."""

    code = "rate_limited"


class TooManyConcurrent(ServerError):
    """As many requests of the API key run as may."""

    code = "too_many_concurrent"


class NotFound(ServerError):
    """There is no route of that path."""

    code = "not_found"


class UnsupportedMediaType(ServerError):
    """The body comes in a form that is not taken here."""

    code = "unsupported_media_type"


class BodyTooLarge(ServerError):
    """The body has more bytes than the limits allow."""

    code = "request_too_large"


class BodyTooSlow(ServerError):
    """The body comes so slowly that it is no longer waited for."""

    code = "request_timeout"


class AdaptersBusy(ServerError):
    """All slots are leased, and the queue for them is full or did not move in time."""

    code = "adapters_busy"


class NotReady(ServerError):
    """The server is starting up or shutting down."""

    code = "not_ready"


class EngineUnavailable(ServerError):
    """The engine has died; only a restart of the server helps, which takes about a minute."""

    code = "engine_failed"

    def __init__(self) -> None:
        super().__init__("the engine has died; the server must be restarted", retry_after=RESTART_S)
