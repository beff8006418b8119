# SPDX-License-Identifier: Apache-2.0
"""``tritforge train``: hands over to the trainer, whose options are its own."""

import subprocess
import sys

import typer

__all__ = ["train"]


def train(context: typer.Context) -> None:
    """Train the demo model; `tritforge train --help` lists the trainer's own options.

    Needs the `train` extra (PyTorch, tokenizers): `make train` installs it.
    """
    from host import doctor

    doctor.require("torch", "tokenizers")
    done = subprocess.run([sys.executable, "-m", "host.train", *context.args], check=False)
    raise typer.Exit(done.returncode)
