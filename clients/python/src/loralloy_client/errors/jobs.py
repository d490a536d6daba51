"""What can go wrong with adapters that the server fetches itself, and with its jobs.

PermissionDenied
└── SourceNotAllowed         the settings do not allow this source
    └── SourceAddressRefused     its host, or a redirect, leads to a private address
NotFound
├── SourceNotFound           the source has no such adapter
└── JobNotFound              no job of that id
Conflict
└── JobCancelled             the job was cancelled
Unavailable
├── SourceUnavailable        the source does not answer, or not as it should
│   └── SourceTooSlow            it takes longer than the server waits
└── TooManyJobs              as many jobs as are kept have not ended
"""

from loralloy_client.errors.base import Conflict, NotFound, PermissionDenied, Unavailable


class SourceNotAllowed(PermissionDenied):
    """The server's settings do not allow adapters to be fetched from there."""

    code = "source_not_allowed"


class SourceAddressRefused(SourceNotAllowed):
    """The source, or a redirect of it, leads to an address that is not public."""

    code = "source_address_refused"


class SourceNotFound(NotFound):
    """The source has no such adapter, or does not show it."""

    code = "source_not_found"


class JobNotFound(NotFound):
    """No job of that id: never there, or forgotten."""

    code = "job_not_found"


class JobCancelled(Conflict):
    """The job was cancelled before it had done anything that stays."""

    code = "job_cancelled"


class SourceUnavailable(Unavailable):
    """The source does not answer, or not as it should."""

    code = "source_unavailable"


class SourceTooSlow(SourceUnavailable):
    """The source takes longer than the server's limits allow."""

    code = "source_too_slow"


class TooManyJobs(Unavailable):
    """As many jobs as the server keeps have not ended yet."""

    code = "too_many_jobs"
