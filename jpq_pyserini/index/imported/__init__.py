"""Indexes that others trained (the authors of JPQ, PyTerrier) converted to index directories."""
