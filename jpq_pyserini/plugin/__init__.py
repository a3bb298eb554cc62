"""How an unmodified Pyserini learns the word ``jpq``.

``startup`` runs at every start of the interpreter and only watches for a handful of module names; ``register`` acts
when one of them is really imported; ``java`` finds a Java that Pyserini can use.
"""
