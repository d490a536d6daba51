r"""LoRI-D: LoRA with a random A that stays as it was drawn (arXiv 2504.07448, §3.1).

    y = W x + (α / r) B A x        A [r, in] random, B [out, r] = 0 at the start

B alone is trained, all of it. Adapters whose A are independent add little noise to each other when
they are merged. ``loralloy masks`` reads off the trained B which entries LoRI-S shall train.

Invariant: neither W nor A ever changes.
"""

from functools import partial
from typing import Final

from adapters.training.methods.lori.frozen import AKeys, check_a, put_frozen_a, settled_a
from adapters.training.methods.method import Method
from adapters.training.methods.saving import save_adapter

METHOD: Final = Method(
    name="lori_d",
    title="LoRI-D",
    reference="arXiv 2504.07448",
    keys=AKeys,
    prepare=put_frozen_a,
    save=save_adapter,
    check=check_a,
    settle=partial(settled_a, "lori_d"),
)
