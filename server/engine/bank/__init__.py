"""The gated bank: its arithmetic, its buffers, its kernels."""
