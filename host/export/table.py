# SPDX-License-Identifier: Apache-2.0
"""The register table as JSON, and words that the other formats share."""

import dataclasses
import json

from golden_model.registers import MAP_VERSION, REGISTERS, Register

__all__ = ["ACCESS_WORDS", "NAME", "as_json", "bits", "summary", "version"]

NAME = "TRITFORGE"
ACCESS_WORDS = {"ro": "read only", "rw": "read and write", "wo": "write only",
                "w1c": "read, write ones to clear"}


def version() -> str:
    """Version of the table, ``major.minor``."""
    return ".".join(map(str, MAP_VERSION))


def summary(register: Register) -> str:
    """Return the description on one line."""
    return " ".join(register.description.split())


def bits(low: int, count: int) -> str:
    """Bits as ``7:0``, or one as ``7``."""
    return f"{low + count - 1}:{low}" if count > 1 else str(low)


def as_json() -> str:
    """Return the whole table as JSON text."""
    rows = [{"name": one.name, "offset": one.offset, "kind": one.kind, "access": one.access,
             "reset": one.reset, "description": summary(one), "fault": one.fault,
             "fields": [dataclasses.asdict(field) for field in one.fields]} for one in REGISTERS]
    return json.dumps({"name": NAME.lower(), "version": version(), "registers": rows},
                      indent=2) + "\n"
