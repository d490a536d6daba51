"""The seed of LoRI's frozen A."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from adapters.training.plan.recipe_file import Plan


def with_a_seed(plan: Plan, data: Mapping[str, str]) -> Plan:
    """The plan with the seed of A settled, for methods that freeze a fresh one.

    A merge adds little noise because the A of its adapters are independent. One default seed would
    make all of them equal, so that of A depends on method and data as well. The card keeps it.

    Args:
        plan: the run's.
        data: the SHA-256 of each file or dataset by its name.
    """
    job, recipe = plan.job, plan.recipe
    brings_a = job.reuse_a is not None or job.start_from is not None
    if not plan.method.frozen_a or brings_a or recipe.a_seed is not None:
        return plan
    told = json.dumps([recipe.seed, plan.method.name, sorted(data.values())])
    seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:4])  # NumPy's bound: 32 bits
    return replace(plan, recipe=recipe.model_copy(update={"a_seed": seed}))
