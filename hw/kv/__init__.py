# SPDX-License-Identifier: Apache-2.0
"""The KV cache: storage of key and value rows."""
