"""The root of all errors, one class for each status, and the general ones below it."""


class LoralloyError(Exception):
    """Root of everything that this package raises on purpose.

    Attributes:
        message: what is wrong, for people.
        type: OpenAI's word for the kind of error, or None where the server said none.
        param: the request field at fault, or None.
        code: the stable word for it, for programs, or None where the server said none.
        status: the HTTP status; None without an answer, and of an error inside a stream.
        request_id: the request's id, under which the server's log has it.
        retry_after: seconds after which the same request may succeed, or None.
    """

    code: str | None = None

    def __init__(  # noqa: PLR0913 - one for each key of the wire, and two of the headers
        self,
        message: str,
        *,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.param = param
        self.code = code or self.code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        """The message, and what it is found by: ``no such adapter (adapter_not_found)``."""
        return self.message if self.code is None else f"{self.message} ({self.code})"


class ConnectionFailed(LoralloyError):
    """No answer came."""


class NotConnected(ConnectionFailed):
    """There is no connection, so that nothing was sent."""


class ConnectionLost(ConnectionFailed):
    """The connection broke while the request or its answer was under way."""


class TimedOut(ConnectionFailed):
    """It took longer than the caller wanted to wait."""


class UnexpectedAnswer(LoralloyError):
    """An answer that no Loralloy server gives; is the address right?"""


class StreamBroken(LoralloyError):
    """A stream ended before the server said that it was complete."""


class APIError(LoralloyError):
    """The server refused the request, or failed on it."""


class InvalidRequest(APIError):
    """A field of the request has the wrong type or no sensible value."""

    code = "invalid_request"


class Unauthorized(APIError):
    """No API key, or one that the server does not know."""

    code = "invalid_api_key"


class PermissionDenied(APIError):
    """The server does not do this for this caller."""

    code = "forbidden"


class CrossOrigin(PermissionDenied):
    """A web page of another origin called a server without keys."""

    code = "cross_origin_refused"


class ActionDenied(PermissionDenied):
    """The API key does not allow what was asked."""

    code = "permission_denied"


class NotFound(APIError):
    """There is nothing at this address or of this name."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No base model, adapter or policy of that name."""

    code = "model_not_found"


class AdapterNotFound(NotFound):
    """No adapter of that name."""

    code = "adapter_not_found"


class AdapterBeingRemoved(AdapterNotFound):
    """The adapter is being removed and takes no new requests."""

    code = "adapter_removing"


class VersionNotFound(NotFound):
    """The adapter has, or still has, no such version."""

    code = "adapter_version_not_found"


class UnknownPolicy(NotFound):
    """No policy of that name."""

    code = "unknown_policy"


class TraceNotFound(NotFound):
    """No trace under that request id: never made, another key's, or no longer kept."""

    code = "trace_not_found"


class MethodNotAllowed(APIError):
    """The address does not take this method."""

    code = "method_not_allowed"


class Conflict(APIError):
    """The request contradicts what the server has."""

    code = "conflict"


class AdapterExists(Conflict):
    """The name is taken by an adapter with other content."""

    code = "adapter_exists"


class NameBeingRemoved(Conflict):
    """The adapter that has the name is being removed: nothing can be put under it yet."""

    code = "adapter_name_removing"


class PreconditionFailed(APIError):
    """What was to be changed is not what was expected any more; look at it again."""


class VersionConflict(PreconditionFailed):
    """The adapter's content is not the expected one any more."""

    code = "adapter_version_conflict"


class BodyTooSlow(APIError):
    """The body came so slowly that the server no longer waited for it."""

    code = "request_timeout"


class BodyTooLarge(APIError):
    """The body has more bytes than the server takes."""

    code = "request_too_large"


class UnsupportedMediaType(APIError):
    """The body is of a kind that the address does not take."""

    code = "unsupported_media_type"


class ServerFailed(APIError):
    """The server failed; its log says why, under the request's id."""

    code = "internal_error"


class StorageFailed(ServerFailed):
    """The server's file system refused to keep an adapter."""

    code = "adapter_storage_failed"


class StorageFull(StorageFailed):
    """The server's disk has no room left for an adapter."""

    code = "storage_full"


class EncoderFailed(ServerFailed):
    """The server's encoder could not encode."""

    code = "encoder_failed"


class EngineError(ServerFailed):
    """The server's engine failed."""

    code = "engine_error"


class NotSupported(APIError):
    """The engine does not have this."""

    code = "not_implemented"


class Unavailable(APIError):
    """The server cannot serve the request now."""


class AdaptersBusy(Unavailable):
    """Every slot is in use, and the queue for them is full or slow."""

    code = "adapters_busy"


class NotReady(Unavailable):
    """The server is starting up or shutting down."""

    code = "not_ready"


class EngineUnavailable(Unavailable):
    """The engine has died; only a restart of the server helps."""

    code = "engine_failed"


class EngineLoadError(Unavailable):
    """The engine could not load an adapter."""

    code = "adapter_load_failed"


class EngineFull(Unavailable):
    """Every slot holds an adapter."""

    code = "adapter_slots_full"


class Overloaded(Unavailable):
    """Too many requests at once."""

    code = "overloaded"


class RateLimited(Overloaded):
    """The API key has sent as many requests as it may for now; ``retry_after`` says how long."""

    code = "rate_limited"


class TooManyConcurrent(Overloaded):
    """As many requests of the API key run as may."""

    code = "too_many_concurrent"
