"""Corpora expanded or weighted by models, for Lucene: ``python -m jpq_pyserini.eval.expansion --help``."""
