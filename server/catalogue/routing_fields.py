"""The fields of a request that say what the router may know of an adapter.

Nothing is imported here: commands that are to start at once need the list too.
"""

from typing import Final

CENTROID_FIELDS: Final = ("centroids", "centroid")
"""Two names of one field, of which a request may have one."""

ROUTING_FIELDS: Final = ("examples", "description", *CENTROID_FIELDS, "encoder")
