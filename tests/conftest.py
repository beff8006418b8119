# SPDX-License-Identifier: Apache-2.0
"""Fixtures that more than one directory of tests uses."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Run(NamedTuple):
    """What one run of the command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON; anything beside one document is an error."""
        return json.loads(self.out)


def pytest_report_header() -> str:
    """Say which optional simulator is here: without it, its tests are skipped by name."""
    found = shutil.which("iverilog")
    return f"icarus: {'found' if found else 'not installed, its tests are skipped'}"


@pytest.fixture(autouse=True, scope="session")
def _short_comparisons():
    """Leave out the difference of two lists: with `CI` set it is written, in minutes if long.

    Planted bugs make such lists differ.  Modules that want to know of `CI` have been imported.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "BUILD_NUMBER"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def tritforge(tmp_path: Path) -> Callable[..., Run]:
    """Run ``tritforge`` with arguments in an empty directory, as a user's shell would."""
    def run(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Run:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1",
                     **environment}
        done = subprocess.run([sys.executable, "-m", "host.cli", *arguments], cwd=cwd,
                              env=variables, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, timeout=600)
        return Run(done.returncode, done.stdout, done.stderr)
    return run
