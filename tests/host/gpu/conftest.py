# SPDX-License-Identifier: Apache-2.0
"""The GPU, for the tests that need one."""

import pytest

from host.gpu.runtime import absence, device


@pytest.fixture(scope="session")
def gpu():
    """Device, or a skip that says why there is none."""
    reason = absence()
    if reason:
        pytest.skip(reason)
    return device()
