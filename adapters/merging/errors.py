"""What can be wrong with a merge."""

from adapters.errors import AdapterError


class CannotMerge(AdapterError):
    """The adapters, the rule or the output folder do not allow the merge."""

    code = "cannot_merge"
