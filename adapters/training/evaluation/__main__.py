"""``python -m adapters.training.evaluation`` measures models: see ``command.py``."""

from adapters.training.process import start

if __name__ == "__main__":
    raise SystemExit(start("adapters.training.evaluation.command"))
