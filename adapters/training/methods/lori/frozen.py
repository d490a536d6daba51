"""A of LoRI: drawn once, as PEFT draws it, and never trained (arXiv 2504.07448, §3.1)."""

from torch import nn


def freeze_a(model: nn.Module) -> None:
    """Train no A of any adapter."""
    for name, parameter in model.named_parameters():
        if ".lora_A." in name:
            parameter.requires_grad_(False)
