"""A Java home as OpenJDK lays it out, without a Java in it."""

import stat


def fake_java(home, version, modules="java.base", *, release=True, script="#!/bin/sh\nexit 1\n"):
    """Lay out a Java home: ``bin/java`` and, as every OpenJDK has, ``release``."""
    executable = home / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(script)
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="A"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home
