# SPDX-License-Identifier: Apache-2.0
"""Train, measure and pack the demo model (BitNet a4.8's two-stage recipe, arXiv:2411.04965).

Run it as ``python -m host.train --help``.  It needs the optional dependencies of the ``train``
extra; :func:`require_extra` says so in one sentence.
"""

from importlib.util import find_spec

__all__ = ["MissingExtraError", "require_extra"]

EXTRA = ("torch", "tokenizers", "safetensors", "typer")


class MissingExtraError(ModuleNotFoundError):
    """The ``train`` extra is not installed; the message is one sentence for the user."""


def require_extra() -> None:
    """Raise :class:`MissingExtraError` unless every package of the ``train`` extra is there."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"training needs {', '.join(missing)}: install the extra with "
                                "pip install 'tritforge[train]'")
