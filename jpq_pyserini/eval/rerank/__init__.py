"""Runs re-ranked by a cross-encoder, the paper's table 4: ``python -m jpq_pyserini.eval.rerank --help``."""
