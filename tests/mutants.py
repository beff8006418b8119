# SPDX-License-Identifier: Apache-2.0
"""Planted bugs: a component built from its own source with one place changed."""

import inspect
import sys
import types

__all__ = ["mutant"]


def mutant(component: type, old: str, new: str) -> type:
    """Class of `component`'s name from its module's source with `old`, found once, made `new`."""
    module = sys.modules[component.__module__]
    source = inspect.getsource(module)
    if source.count(old) != 1:
        raise ValueError(f"{old!r} occurs {source.count(old)} times in {module.__name__}")
    changed = types.ModuleType(f"{module.__name__}_mutant")
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), changed.__dict__)
    return getattr(changed, component.__name__)
