"""Tarballs: packed to the same bytes every time, unpacked without trust."""

import bz2
import errno
import gzip
import itertools
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from jpq_pyserini.errors import JPQError, reason_of

#: How a .gz file begins.
GZIP = (b"\x1f\x8b",)
#: What no index needs more of: an index directory has some twenty files.
_MOST_MEMBERS, _DEEPEST, _LONGEST_NAME, _HEADER = 2000, 20, 1000, 1 << 16
_DAMAGED = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, OverflowError, RecursionError),  # of headers that tarfile does not check
)


def pack(
    directory: Path, names: Iterable[str], target: Path, top: str, instead: Mapping[str, Path] | None = None
) -> None:
    """Write ``target``, a ``.tar.gz`` of files of ``directory`` under the folder ``top``.

    ``instead`` names files to pack in place of those of the directory.

    The same files give the same bytes (with the same zlib): sorted, with no times, owners, modes or file names of this
    machine.
    """
    names = sorted(names)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    with (
        open(target, "xb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in ["", *sorted(folders)]:
            member = tarfile.TarInfo(str(PurePosixPath(top, name)))
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name in names:
            member = tarfile.TarInfo(str(PurePosixPath(top, name)))
            source = (instead or {}).get(name, directory / name)
            member.size, member.mode = os.path.getsize(source), 0o644
            with open(source, "rb") as content:
                tar.addfile(member, content)


def unpack(
    archive: Path, directory: Path, wanted: Callable[[str], bool], *, strip_top: bool = False, most: int | None = None
) -> None:
    """Unpack files of a tarball into ``directory``, which must exist.

    The whole archive is looked through before anything is written.

    Args:
        archive: ``.tar``, compressed by gzip, bzip2, xz or not at all.
        directory: where to.
        wanted: tells of a file's path in the archive whether it is unpacked; nothing else is.
        strip_top: the archive must hold exactly one folder, whose contents are unpacked.
        most: bytes that the wanted files may have in all; None: what is free on the disk.

    Raises:
        JPQError: the archive is damaged; a member is a link, a device or points outside; or there are more, larger or
            deeper ones than an index has. ``directory`` may hold part of it then: give one that is thrown away.
        OSError: the wanted files need more space than is free.
    """
    try:
        with _opened(archive) as plain, (bounded := _Bounded(plain)).as_tar() as tar:
            members = _checked(archive, tar, bounded, directory, strip_top)
            while plain.read(1 << 20):  # the compressed stream ends with its checksum
                pass
            chosen = {name: member for name, member in members.items() if wanted(name)}
            size = sum(member.size for member in chosen.values())
            if most is not None and size > most:
                raise _refusal(archive, f"{size:,} bytes where at most {most:,} are expected")
            free = shutil.disk_usage(directory).free
            if size > free:
                raise OSError(errno.ENOSPC, f"{archive.name} holds {size:,} bytes, {free:,} are free", str(directory))
            for name, member in chosen.items():
                bounded.allowed = member.size + _HEADER
                tar.extract(member.replace(name=name, deep=False), directory, set_attrs=False, filter="data")
    except JPQError:
        raise
    except (FileExistsError, NotADirectoryError) as error:
        raise _refusal(archive, f"{error.filename!r} twice") from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of a decompressor
            raise
        raise JPQError(
            f"{archive.name} is damaged or no tarball ({reason_of(error)}): fetch or pack it again"
        ) from error


def _checked(
    archive: Path, tar: tarfile.TarFile, bounded: "_Bounded", directory: Path, strip_top: bool
) -> dict[str, tarfile.TarInfo]:
    """Look at every member; returns the files by name, without the folder that ``strip_top`` takes away."""
    files: dict[str, tarfile.TarInfo] = {}
    tops: set[str] = set()
    for count in itertools.count(1):
        bounded.allowed = _HEADER
        member = tar.next()
        if member is None:
            break
        parts = PurePosixPath(member.name[:_LONGEST_NAME]).parts
        if count > _MOST_MEMBERS or len(member.name) > _LONGEST_NAME or len(parts) > _DEEPEST:
            raise _refusal(archive, f"more files or deeper folders ({member.name[:60]!r}) than an index has")
        if not (member.isreg() or member.isdir()) or member.issparse():
            kind = "a link" if member.islnk() or member.issym() else "a device or special file"
            raise _refusal(archive, f"{kind} ({member.name!r}), which is not unpacked")
        try:
            filtered = tarfile.data_filter(member, str(directory))
        except tarfile.FilterError:
            filtered = None
        if filtered is None or filtered.name != member.name:
            raise _refusal(archive, f"the path {member.name!r} outside its folder")
        tops.update(parts[:1])
        if strip_top and (len(tops) > 1 or (len(parts) == 1 and not member.isdir())):
            raise JPQError(
                f"{archive.name} holds more than one folder ({', '.join(map(repr, sorted(tops)))}): "
                "pack it with python -m jpq_pyserini.prebuilt pack"
            )
        name = "/".join(parts[1:] if strip_top else parts)
        if name in files:
            raise _refusal(archive, f"{member.name!r} twice")
        if member.isreg():
            files[name] = member
    if not tops:
        raise JPQError(f"{archive.name} is an empty archive: fetch or pack it again")
    return files


def _opened(archive: Path) -> IO[bytes]:
    with open(archive, "rb") as file:
        start = file.read(6)
    openers: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
    return next((opener for magic, opener in openers.items() if start.startswith(magic)), open)(archive, "rb")


class _Bounded:
    """A tarball's bytes, of which at most ``allowed`` can be read: tarfile reads a header of any size into memory."""

    def __init__(self, file: IO[bytes]):
        self._file, self.allowed = file, _HEADER

    def as_tar(self) -> tarfile.TarFile:
        return tarfile.open(fileobj=self, mode="r:")  # type: ignore[call-overload]

    def read(self, size: int) -> bytes:
        self.allowed -= size
        if self.allowed < 0:
            raise tarfile.ReadError(f"a header of more than {_HEADER:,} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _refusal(archive: Path, what: str) -> JPQError:
    return JPQError(f"{archive.name} holds {what}: do not use this archive")
