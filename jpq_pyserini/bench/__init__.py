"""Benchmarks: how fast and how large, of JPQ and of what it is compared with."""
