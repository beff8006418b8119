# SPDX-License-Identifier: Apache-2.0
"""What is right: the reference, the exact integer model and the cycle model of every component."""
