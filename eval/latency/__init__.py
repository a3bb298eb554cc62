"""Systems side by side: ``python -m jpq_pyserini.eval.latency``."""
