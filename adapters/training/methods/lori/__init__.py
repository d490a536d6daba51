"""LoRI: LoRA with a frozen random A and a sparse B, made to be merged (arXiv 2504.07448)."""
