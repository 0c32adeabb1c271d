"""Puts the project's files into the wheel; everything else about the package stands in pyproject.toml.

`templates/`, the sample issue, the sample list and `config.toml` stand once, at the top level. A wheel has only the
package, so they are copied into it while it is built (docs/decisions/0004). An editable install copies nothing.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from newsletter.project_files import CARRIED_IN, Shipped, files_of  # noqa: E402 - the path above makes it importable


class CarryProjectFiles(build_py):
    """`build_py`, followed by the copy."""

    def run(self) -> None:
        """Build the package, then add the files to it."""
        super().run()
        if self.editable_mode:
            return
        # What an earlier build left there may have been renamed or deleted since.
        shutil.rmtree(self._carried(), ignore_errors=True)
        for file in self._files():
            (self._carried() / file).parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(ROOT / file), str(self._carried() / file))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """All files this step makes; setuptools asks for them."""
        ours = [] if self.editable_mode else [str(self._carried() / file) for file in self._files()]
        return [*super().get_outputs(include_bytecode), *ours]

    def get_output_mapping(self) -> dict[str, str]:
        """Which file each output is a copy of."""
        ours = {} if self.editable_mode else {str(self._carried() / file): str(file) for file in self._files()}
        return {**super().get_output_mapping(), **ours}

    def _carried(self) -> Path:
        return Path(self.build_lib) / "newsletter" / CARRIED_IN

    @staticmethod
    def _files() -> list[Path]:
        return [file for part in Shipped for file in files_of(part)]


setup(cmdclass={"build_py": CarryProjectFiles})
