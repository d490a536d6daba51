"""``python -m adapters.training.full``: the baseline that trains every weight.

To read how it goes, see ``flat/full.py``; this is what to run.
"""

from adapters.training.process import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.command", "full"))
