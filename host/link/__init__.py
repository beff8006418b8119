# SPDX-License-Identifier: Apache-2.0
"""The serial link between host and accelerator (``docs/link.md``).

Bytes may be lost, doubled, changed or held up in both directions, and either end may restart.  A
command is executed at most once; what cannot be settled is a :class:`host.link.errors.LinkError`
within a bounded time.
"""
