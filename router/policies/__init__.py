"""The policies: one file each, listed here. A new one is a new file and a new line."""

from router.policies.base import PolicyConfig
from router.policies.fixed import FixedPolicy
from router.policies.nearest import NearestPolicy
from router.policies.softmax import SoftmaxPolicy
from router.policies.tle import TlePolicy
from router.policies.uniform import UniformPolicy

POLICIES: dict[str, type[PolicyConfig]] = {
    "tle": TlePolicy,
    "softmax": SoftmaxPolicy,
    "nearest": NearestPolicy,
    "uniform": UniformPolicy,
    "fixed": FixedPolicy,
}

__all__ = ["POLICIES", "PolicyConfig"]
