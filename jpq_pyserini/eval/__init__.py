"""Comparing retrieval runs: reading them, scoring them as trec_eval does, testing and showing the differences."""
