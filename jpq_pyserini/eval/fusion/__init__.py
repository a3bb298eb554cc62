"""Several runs fused into one: ``python -m jpq_pyserini.eval.fusion --help``."""
