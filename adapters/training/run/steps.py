"""What hears of each optimiser step of a run: the base of the run's callbacks."""

from abc import ABC, abstractmethod

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StepCallback(TrainerCallback, ABC):
    """Hears of each step once it is logged, which is before it is saved."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Pass on one step; the trainer's last call sums up the run, without a loss."""
        if logs and "loss" in logs:
            self.on_step(state, logs)

    @abstractmethod
    def on_step(self, state: TrainerState, logs: dict[str, float]) -> None:
        """Hear of ``state.global_step``: its ``loss``, ``grad_norm`` and ``learning_rate``."""
