# SPDX-License-Identifier: Apache-2.0
"""Verilator's own part of a simulation, compiled once for all designs with the same options.

It is the same text in every build, and most of what g++ works on in a small one.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["shared_objects"]

_AHEAD = 3600
"""Seconds: more than Verilator takes for the largest design."""


@contextlib.contextmanager
def shared_objects(build, directory, *key):
    """Let a build in `directory` find the objects of the last one with the same `key`.

    They are dated ahead of now, because make would build again what is older than the makefile
    that Verilator is about to write.  Whoever finds nothing leaves its own in `build`.

    Parameters
    ----------
    build
        Directory of all builds.
    directory
        Where make compiles; it is made if need be.
    key
        Whatever the objects depend on: versions, options.
    """
    place = build / f"verilated-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"
    directory.mkdir(exist_ok=True)
    known = place.is_dir()
    if known:
        ahead = time.time() + _AHEAD
        for path in place.iterdir():
            os.utime(shutil.copy(path, directory), (ahead, ahead))
    yield
    if known:
        return
    with tempfile.TemporaryDirectory(dir=build, prefix="tmp-") as temporary:
        work = Path(temporary) / "objects"
        work.mkdir()
        for path in directory.glob("verilated*.o"):
            shutil.copy(path, work)
        with contextlib.suppress(OSError):  # another build was first
            work.rename(place)
