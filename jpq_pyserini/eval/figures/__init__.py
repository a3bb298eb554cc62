"""The paper's figures from the user's own runs and indexes: ``python -m jpq_pyserini.eval.figures --help``."""
