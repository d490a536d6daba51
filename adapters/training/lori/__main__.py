"""``python -m adapters.training.lori`` makes masks: see ``extract.py``."""

from adapters.training.start import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.lori.extract"))
