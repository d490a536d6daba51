"""What can be wrong with a training run: one error, whose message is one line for the user."""

from adapters.errors import AdapterError


class TrainingError(AdapterError):
    """The data, the options or the output folder do not allow the run."""

    code = "training_error"
