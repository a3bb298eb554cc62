"""Texts to vectors, without Pyserini: sentence-transformers models, and the backends that run them."""
