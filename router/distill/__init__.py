"""Token vectors distilled from an encoder: ``python -m router.distill``.

A folder that :class:`router.encoders.static.StaticEncoder` reads, made in this order:

    texts → samples → teacher's embeddings → first vectors → training → folder → agreement

Torch is needed here alone: what is made is read by numpy.
"""
