# SPDX-License-Identifier: Apache-2.0
"""Golden models of what runs a program."""
