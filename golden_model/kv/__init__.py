# SPDX-License-Identifier: Apache-2.0
"""Codes and storage of key and value rows."""
