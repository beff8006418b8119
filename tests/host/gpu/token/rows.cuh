// SPDX-License-Identifier: Apache-2.0
// What host/gpu/kernels/rows.cuh offers, over a matrix [ROWS][N] that is not packed, without tensor
// cores.
#pragma once

constexpr int SHARE = (DEPTH + SPLIT - 1) / SPLIT, SPAN = 16 * TILES;

struct Rows {
  const signed char* w;
  int first, warp;

  Rows(const void* words, int first, int warp, int)
      : w(static_cast<const signed char*>(words)), first(first), warp(warp) {}

  void multiply(const signed char* codes, int* parts, int lane) const {
    for (int i = lane; i < SPAN; i += 32) {
      parts[i] = 0;
      for (int k = 0; k < SHARE * 256; k++) {
        const int column = (k / 256 * SPLIT + warp) * 256 + k % 256;
        if (first + i < ROWS && column < N) parts[i] += w[(first + i) * N + column] * codes[k];
      }
    }
  }
};
