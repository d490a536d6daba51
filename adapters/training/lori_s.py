"""``python -m adapters.training.lori_s``: LoRI-D under a mask (arXiv 2504.07448).

To read how it goes, see ``flat/lori_s.py``; this is what to run.
"""

from adapters.training.process import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.command", "lori_s"))
