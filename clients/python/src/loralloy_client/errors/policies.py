"""What can stand in the way of a policy that is put or removed.

Conflict
├── PolicyNameTaken          the base model or an adapter has the name
└── PolicyNotRemovable       it is of the server's file
PreconditionFailed
└── PolicyVersionConflict    somebody else has changed it meanwhile

What can be wrong with its options is InvalidPolicy, in .requests.
"""

from loralloy_client.errors.base import Conflict, PreconditionFailed


class PolicyNameTaken(Conflict):
    """The base model or an adapter has the name that the policy is to have."""

    code = "policy_name_taken"


class PolicyNotRemovable(Conflict):
    """The policy comes from the server's file of policies."""

    code = "policy_not_removable"


class PolicyVersionConflict(PreconditionFailed):
    """The policy's version is not the expected one any more."""

    code = "policy_version_conflict"
