"""Tarballs: packed to the same bytes every time, unpacked without trust."""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from jpq_pyserini.errors import JPQError

#: How a .gz file begins.
GZIP = (b"\x1f\x8b",)
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


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


def unpack(archive: Path, directory: Path, *, strip_top: bool = False) -> None:
    """Unpack plain files and folders of a tarball into ``directory``, which must exist and be empty.

    Args:
        archive: ``.tar`` with any or no compression.
        directory: where to.
        strip_top: the archive must hold exactly one folder, whose contents are unpacked.

    Raises:
        JPQError: the archive is damaged; a member is a link, a device or points outside; it holds more than the disk.
            ``directory`` may hold part of it then: give one that is thrown away.
    """
    tops = set()
    free = shutil.disk_usage(directory).free
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                parts = _checked_parts(archive, member)
                if not parts:
                    continue
                tops.add(parts[0])
                if strip_top and (len(tops) > 1 or (len(parts) == 1 and not member.isdir())):
                    raise JPQError(
                        f"{archive.name} holds more than one folder ({', '.join(sorted(tops))}): "
                        "pack it with python -m jpq_pyserini.prebuilt pack"
                    )
                free -= member.size
                if free < 0:
                    raise JPQError(f"{archive.name} holds more than there is space in {directory.parent}: free some")
                _extract(tar, member, directory.joinpath(*parts[1:] if strip_top else parts))
            while tar.fileobj.read(1 << 20):  # the compressed stream ends with its checksum
                pass
    except (FileExistsError, NotADirectoryError) as error:
        raise JPQError(f"{archive.name} holds {error.filename!r} twice: do not use this archive") from error
    except _DAMAGED as error:
        raise JPQError(f"{archive.name} is damaged or no tarball ({error}): fetch or pack it again") from error
    if not tops:
        raise JPQError(f"{archive.name} is an empty archive: fetch or pack it again")


def _checked_parts(archive: Path, member: tarfile.TarInfo) -> tuple[str, ...]:
    if not (member.isreg() or member.isdir()):
        kind = "a link" if member.islnk() or member.issym() else "a device or special file"
        raise JPQError(f"{archive.name} holds {kind} ({member.name!r}), which is not unpacked: do not use this archive")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise JPQError(f"{archive.name} holds the path {member.name!r} outside its folder: do not use this archive")
    return path.parts


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tar.extractfile(member) as content, open(path, "xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    if path.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
