// SPDX-License-Identifier: Apache-2.0
// Weights of a warp in registers and what it multiplies them by.  W is packed as rows,
// host/gpu/packing.py: DEPTH chunks of 256 columns a row, PLANES planes.
//
// A warp takes 16 * TILES rows and every SPLITth chunk.  GROUPS sets of rows share a block.
#pragma once
#include "planes.cuh"

constexpr int SHARE = (DEPTH + SPLIT - 1) / SPLIT;  // chunks of a warp, at most
constexpr int HEIGHT = 16 * TILES;                  // rows of a warp
constexpr int SPAN = HEIGHT * GROUPS;               // rows of a block
constexpr bool WIDE = 1LL * ROWS * DEPTH * (32 * PLANES) >= 7 << 20;

struct Words {
  uint2 plane[PLANES];
};

// The words of one row and chunk that a thread needs.
__device__ __forceinline__ Words load_words(const uint2* w, int row, int chunk, int q) {
  const uint2* at = w + (static_cast<long long>(row) * DEPTH + chunk) * (4 * PLANES);
  Words out;
  if constexpr (PLANES == 2) {
    const uint4 v = load_constant<WIDE>(reinterpret_cast<const uint4*>(at) + q);
    out.plane[0] = make_uint2(v.x, v.y);
    out.plane[1] = make_uint2(v.z, v.w);
  } else {
#pragma unroll
    for (int p = 0; p < PLANES; p++) out.plane[p] = load_constant(at + 4 * p + q);
  }
  return out;
}

__device__ __forceinline__ constexpr int coefficient(int plane) {
  return plane == PLANES - 1 ? -(1 << (PLANES == 2 ? 0 : plane)) : 1 << plane;
}

// Weights of a warp times the codes of its chunks; its rows' sums go to `parts`, `local` being the
// thread's first row there.
__device__ __forceinline__ void multiply_rows(const Words (&weights)[TILES][2][SHARE],
                                              const uint4 (&codes)[SHARE][4], int* parts,
                                              int local, int lane) {
  int counts[TILES][PLANES][4] = {};
#pragma unroll
  for (int s = 0; s < SHARE; s++) {
    const uint2 planes = gather_planes(codes[s], lane);
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int p = 0; p < PLANES; p++) {
        const uint2 upper = weights[t][0][s].plane[p], lower = weights[t][1][s].plane[p];
        multiply(counts[t][p], upper.x, lower.x, upper.y, lower.y, planes);
      }
  }
#pragma unroll
  for (int t = 0; t < TILES; t++) {
    int all[4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int p = 0; p < PLANES; p++) all[i] += coefficient(p) * counts[t][p][i];
    const int2 sums = weigh(all, lane);
    // Over the four threads of a row; after the first step a thread answers for one row.
    const bool odd = lane & 1;
    int keep = odd ? sums.y : sums.x;
    keep += __shfl_xor_sync(~0u, odd ? sums.x : sums.y, 1);
    keep += __shfl_xor_sync(~0u, keep, 2);
    if ((lane & 2) == 0) parts[local + 16 * t + 8 * odd] = keep;
  }
}

// Weights of one warp and every row below ROWS, for one set of rows a block.
struct Rows {
  Words weights[TILES][2][SHARE];

  // Issue the loads; `warp` beyond SPLIT holds nothing.
  __device__ __forceinline__ Rows(const void* w, int first, int warp, int lane) {
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int h = 0; h < 2; h++)
#pragma unroll
        for (int s = 0; s < SHARE; s++) {
          const int row = first + (lane >> 2) + 16 * t + 8 * h, chunk = s * SPLIT + warp;
          weights[t][h][s] = Words{};
          if (warp < SPLIT && row < ROWS && chunk < DEPTH)
            weights[t][h][s] = load_words(static_cast<const uint2*>(w), row, chunk, lane & 3);
        }
  }

  // Times codes in shared memory, SHARE chunks.
  __device__ __forceinline__ void multiply(const signed char* codes, int* parts, int lane) const {
    uint4 own[SHARE][4];
#pragma unroll
    for (int s = 0; s < SHARE; s++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        own[s][i] = *reinterpret_cast<const uint4*>(codes + s * CHUNK + 32 * (lane & 3) +
                                                    16 * (i & 1) + 128 * (i >> 1));
    multiply_rows(weights, own, parts, lane >> 2, lane);
  }
};
