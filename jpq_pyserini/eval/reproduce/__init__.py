"""Experiments as data: a YAML file of commands and expected scores, run and judged in the manner of Pyserini's 2CR."""
