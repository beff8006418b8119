# SPDX-License-Identifier: Apache-2.0
"""What runs a program: the sequencer and what it starts."""
