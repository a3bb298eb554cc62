"""What a file must be, by size, digests and first bytes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileCheck:
    """What a download must be.

    Attributes:
        size: in bytes; None when unknown, as for the digests.
        md5, sha256: hexadecimal digests.
        magic: the bytes it must begin with, one of these; all that can be checked of a file without a digest.
    """

    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    magic: tuple[bytes, ...] = ()

    @property
    def has_digest(self) -> bool:
        """Whether the bytes can be told from any others."""
        return bool(self.md5 or self.sha256)

    def mismatch(self, path: Path) -> str | None:
        """Return in what way ``path`` is something else, or None."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        with open(path, "rb") as file:
            start = file.read(max(map(len, self.magic), default=0))
        if self.magic and not start.startswith(self.magic):
            page = ", perhaps a web page" if start.lstrip()[:1] == b"<" else ""
            return f"it begins with {start!r}, which is no such file{page}"
        digests = digests_of(path, [name for name in ("md5", "sha256") if getattr(self, name)])
        for name, digest in digests.items():
            if digest != getattr(self, name):
                return f"its {name} is {digest} instead of {getattr(self, name)}"
        return None


def digests_of(path: str | os.PathLike, names: Sequence[str]) -> dict[str, str]:
    """Return the named hexadecimal digests of a file, read once."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with open(path, "rb") as file:
        while digests and (chunk := file.read(1 << 22)):
            for digest in digests.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in digests.items()}
