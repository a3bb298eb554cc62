"""Which Java is chosen: real folder layouts, no real Java needed."""

import os
import sys

import pytest

from jpq_pyserini.plugin import java

from helpers.java import fake_java


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No Java on the path, none in the environment, none active."""
    for variable in ("JAVA_HOME", "JDK_HOME", "JRE_HOME", "JVM_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(java, "_active", None)
    monkeypatch.delitem(sys.modules, "jnius_config", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("version", "major"), [("21.0.8", 21), ("1.8.0_392", 8), ("25", 25), ("24-ea", 24), ("17.0.15+6", 17), ("?", 0)]
)
def test_major_version(version, major):
    assert java.Java("/x", version, "PATH", False).major == major


def test_java_home_wins_over_path(clean, tmp_path):
    home = fake_java(tmp_path / "jdk22", "22.0.1", "java.base jdk.incubator.vector")
    clean.setenv("JAVA_HOME", str(home))
    clean.setenv("PATH", str(fake_java(tmp_path / "jdk21", "21.0.1") / "bin"))
    chosen = java.choose()
    assert (chosen.home, chosen.version, chosen.source) == (str(home), "22.0.1", "JAVA_HOME")
    assert chosen.has_vector_module
    assert chosen.executable == str(home / "bin" / "java")


def test_path_wins_over_an_old_java_home(clean, tmp_path):
    clean.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk17", "17.0.2")))
    newer = fake_java(tmp_path / "jdk21", "21.0.1")
    links = tmp_path / "links"
    links.mkdir()
    (links / "java").symlink_to(newer / "bin" / "java")
    clean.setenv("PATH", str(links))
    assert (java.choose().home, java.choose().source) == (str(newer), "PATH")
    assert not java.choose().has_vector_module


def test_the_carried_java_is_taken_when_the_others_are_old(clean, tmp_path):
    clean.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk8", "1.8.0_392")))
    clean.setenv("PATH", str(fake_java(tmp_path / "jdk17", "17.0.2") / "bin"))
    assert [each.source for each in java.candidates()] == ["JAVA_HOME", "PATH", java.CARRIED]
    assert java.choose().source == java.CARRIED
    assert java.choose().major == 21


def test_nothing_suitable_changes_nothing(clean, tmp_path):
    clean.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk17", "17.0.2")))
    clean.setattr(java, "_carried_home", lambda: None)
    before = dict(os.environ)
    assert java.activate() is None
    assert dict(os.environ) == before


def test_activate_sets_java_home_and_path_once(clean, tmp_path):
    old = fake_java(tmp_path / "jdk17", "17.0.2")
    library = old / "lib" / "server" / "libjvm.so"
    clean.setenv("JVM_PATH", str(library))
    clean.setenv("PATH", f"{old / 'bin'}{os.pathsep}")
    new = fake_java(tmp_path / "jdk21", "21.0.1")
    clean.setenv("JAVA_HOME", str(new))
    assert java.activate().home == str(new)
    assert os.environ["JAVA_HOME"] == str(new)
    assert os.environ["PATH"] == f"{new / 'bin'}{os.pathsep}{old / 'bin'}{os.pathsep}"
    assert "JVM_PATH" not in os.environ
    java.activate()
    assert os.environ["PATH"].count(str(new)) == 1


def test_a_wrapper_script_on_the_path_is_asked_for_its_home(clean, tmp_path):
    home = fake_java(tmp_path / "real", "23.0.1", "java.base jdk.incubator.vector")
    script = f"#!/bin/sh\necho '    java.home = {home}' >&2\necho '    java.version = 23.0.1' >&2\n"
    wrapper = fake_java(tmp_path / "shims", "", release=False, script=script)
    clean.setenv("PATH", f"{wrapper / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert (java.choose().home, java.choose().version) == (str(home), "23.0.1")


@pytest.mark.parametrize(("modules", "kept"), [("java.base", False), ("java.base jdk.incubator.vector", True)])
def test_the_vector_option_goes_only_if_the_module_is_missing(clean, tmp_path, modules, kept):
    import jnius_config

    clean.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk21", "21.0.1", modules)))
    clean.setattr(jnius_config, "vm_running", False)
    clean.setattr(jnius_config, "options", ["-Xmx1g", "--add-modules=jdk.incubator.vector"])
    java.activate()
    java.drop_missing_modules()
    assert ("--add-modules=jdk.incubator.vector" in jnius_config.options) is kept
    assert "-Xmx1g" in jnius_config.options
