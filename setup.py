"""What pyproject.toml cannot say: the start-up hook's ``.pth`` file, and the folders of data beside the package.

``jpq_pyserini.pth`` goes to the root of site-packages, where every interpreter of the environment runs its one line: it
imports nothing and only leaves a finder that waits for Pyserini (``jpq_pyserini/plugin/startup.py`` does the rest).
``eval/`` (experiments, published numbers, results) and ``prebuilt/`` (the catalogue) are copied into the package; an
editable install finds them where they stand (``jpq_pyserini/resources.py``).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HOOK = "jpq_pyserini.pth"
DATA = [*Path("prebuilt").glob("*.*"), *(path for path in Path("eval").rglob("*.*") if path.is_file())]


class BuildPyWithData(build_py):
    """Wheels: the hook and the data are more files of the build."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._more():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [target for _, target in self._more() if not self.editable_mode]

    def _more(self):
        root = Path(self.build_lib)
        data = [(str(path), str(root / "jpq_pyserini" / "_data" / path)) for path in DATA]
        return [(HOOK, str(root / HOOK)), *data]


class EditableWheelWithHook(editable_wheel):
    """PEP 660: nothing of the build is copied, so the hook goes straight into the wheel that pip installs.

    Its name sorts after setuptools' own ``__editable__*.pth``, which makes the package importable.
    """

    def _run_build_commands(self, dist_name, unpacked_wheel, *args):
        shutil.copyfile(HOOK, Path(unpacked_wheel, HOOK))
        return super()._run_build_commands(dist_name, unpacked_wheel, *args)


setup(cmdclass={"build_py": BuildPyWithData, "editable_wheel": EditableWheelWithHook})
