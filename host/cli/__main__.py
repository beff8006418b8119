# SPDX-License-Identifier: Apache-2.0
"""``python -m host.cli``: the same as the ``tritforge`` command."""

from host.cli import main

if __name__ == "__main__":
    main()
