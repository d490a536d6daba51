"""The LoRA-TLE reference loop: a merged adapter made anew for each token, timed."""
