"""What mixing gains, by scope and stride: the loss of held-out answers on the demo tasks."""
