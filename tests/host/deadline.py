# SPDX-License-Identifier: Apache-2.0
"""A deadline for every test of a directory, whose conftest imports the fixture."""

import signal

import pytest

__all__ = ["deadline"]

SECONDS = {"slow": 3600, "quick": 120}


@pytest.fixture(autouse=True)
def deadline(request):
    """Interrupt a test that waits for ever."""
    limit = SECONDS["slow" if request.node.get_closest_marker("slow") else "quick"]

    def expired(*_):
        raise TimeoutError(f"more than {limit} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
