"""``python -m adapters.training.methods.lori`` makes masks: see ``extract.py``."""

from adapters.training.process import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.methods.lori.extract"))
