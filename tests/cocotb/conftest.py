# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the benches."""

import shutil

import pytest


@pytest.fixture
def icarus():
    """Name of the simulator; its tests are skipped where it is not installed."""
    if not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed: apt-get install iverilog")
    return "icarus"
