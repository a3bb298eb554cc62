"""How an unmodified Pyserini learns the word ``jpq``: importing anything of this package installs the hook.

``startup`` watches for a handful of module names; ``register`` acts when one of them is really imported; ``ours`` tells
which encoders are ours, ``prebuilt`` which index names; ``java`` finds a Java that Pyserini can use.
"""

from jpq_pyserini.plugin import startup

startup.install()  # also where no .pth file is read (PYTHONPATH, pip install --target)
