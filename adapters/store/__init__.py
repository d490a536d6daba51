"""Where contents are kept: content-addressed, immutable, on this machine or in an object store."""

from adapters.store.blob_store import AdapterStore
from adapters.store.local import LocalStore

__all__ = ["AdapterStore", "LocalStore"]
