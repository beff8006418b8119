# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other projects become packed models (``docs/import.md``).

Files are untrusted.  Whatever is wrong with one is a :class:`host.errors.UserError` of one sentence
that names the file; no reader runs code from a file, recurses into it, or allocates more than its
size (and the bounds beside each reader) allows.
"""
