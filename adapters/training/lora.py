"""``python -m adapters.training.lora``: A and B are trained (arXiv 2106.09685).

To read how it goes, see ``flat/lora.py``; this is what to run.
"""

from adapters.training.process import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.command", "lora"))
