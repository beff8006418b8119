# SPDX-License-Identifier: Apache-2.0
"""The register table for other tools: SVD, C header, HTML page, JSON."""

from collections.abc import Callable

from host.export.c_header import c_header
from host.export.page import page
from host.export.svd import svd
from host.export.table import as_json

__all__ = ["FORMATS"]

FORMATS: dict[str, tuple[str, Callable[[], str]]] = {
    "svd": ("tritforge.svd", svd),
    "c": ("tritforge_registers.h", c_header),
    "html": ("registers.html", page),
    "json": ("registers.json", as_json),
}
"""Usual name of the file and what writes its text, by format."""
