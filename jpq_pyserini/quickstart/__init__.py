"""A first run of everything, on text that every machine has: ``python -m jpq_pyserini.quickstart``."""
