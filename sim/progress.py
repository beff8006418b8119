# SPDX-License-Identifier: Apache-2.0
"""Tells how far a bench is while it runs, from the lines that it prints."""

import contextlib
import threading

__all__ = ["PROGRESS", "follow"]

PROGRESS = "progress: "
"""Start of a bench's line that says how far it is."""

SECONDS = 1.0
"""Between two looks at the log."""


@contextlib.contextmanager
def follow(log, report):
    """Pass a bench's lines ``progress: ...`` on to `report` while the block runs."""
    done = threading.Event()

    def watch():
        told = ""
        while not done.wait(SECONDS):
            text = log.read_text(errors="replace") if log.is_file() else ""
            found = [line for line in text.splitlines() if line.startswith(PROGRESS)]
            if found and found[-1] != told:
                told = found[-1]
                report(told.removeprefix(PROGRESS))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
