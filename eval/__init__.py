"""Evaluation: runs compared with measures and tests, and the experiments of the paper."""
