"""The compiled kernel in each branch that this processor runs, side by side in one process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from server.engine.bank.kernels import operator
from server.engine.bank.kernels.build import (
    Branch,
    branch_of,
    branches_here,
    build,
    find_compiler,
    library_of,
)
from server.prepare import cache_dir
from tests.support.kernel_branches import PROPERTY


@dataclass(frozen=True)
class Kernel:
    """A form of the operator.

    Attributes:
        name: a branch, or "torch".
        bind: binds a module: (a, b, slices, step, few) → its number.
        apply: applies a step to a module: (y, x, number).
    """

    name: str
    bind: Callable[..., int]
    apply: Callable[..., None]


PLAIN = Kernel("torch", operator.bind_module, operator.gated_lora)
"""The operator's form in plain torch."""


@cache
def compiled(branch: Branch) -> Kernel:
    """The kernel of a branch, compiled if need be. The processor's own is the one that serves."""
    assert find_compiler() is not None, "the tests need a C++ compiler, as CI has one"
    if branch == branches_here()[0]:
        if operator.installed_kernel() is None:
            operator.install(build(cache_dir() / "kernels"))
        path = operator.installed_kernel()
        assert path is not None, "the kernel does not compile"
        assert branch_of(path) == branch, "a processor that gets another branch than its best"
        return Kernel(branch, torch.ops.loralloy.bind_module, torch.ops.loralloy.gated_lora)
    path = build(cache_dir() / "kernels", branch)
    assert path is not None, f"the branch {branch} does not compile"
    assert branch_of(path) == branch, "one branch under the name of another"
    operators = operator.load_branch(path, library_of(branch))
    return Kernel(branch, operators.bind_module, operators.gated_lora)


def each_branch(request: pytest.FixtureRequest) -> Kernel:
    """The kernel of ``request.param``, which the run's summary then names."""
    request.node.user_properties.append((PROPERTY, request.param))
    return compiled(request.param)
