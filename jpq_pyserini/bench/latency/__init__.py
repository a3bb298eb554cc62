"""Systems side by side: ``python -m jpq_pyserini.bench.latency``."""
