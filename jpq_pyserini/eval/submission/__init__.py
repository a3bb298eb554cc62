"""Runs checked as TREC does, mended on request, written: ``python -m jpq_pyserini.eval.submission --help``."""
