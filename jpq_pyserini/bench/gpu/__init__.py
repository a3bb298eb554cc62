"""What a GPU gives: search over codes, training steps and encoding, in one run of a few minutes."""
