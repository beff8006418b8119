# SPDX-License-Identifier: Apache-2.0
"""Cycles of a whole token, composed from the models of the decoder's parts."""
