"""The bundled training scripts and their evaluators. Nothing else in the project imports them."""
