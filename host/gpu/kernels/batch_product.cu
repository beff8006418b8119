// SPDX-License-Identifier: Apache-2.0
// Y = X W' for ternary W [ROWS, COLUMNS] and TOKENS vectors of byte codes, exact.
//
// W: words [tiles of 16 rows][2 * DEPTH pieces of 128 columns][32 threads][4], codes w + 1,
// host/gpu/packing.py.  x: [TOKENS][DEPTH * 256] bytes.  y: [TOKENS][ROWS] int32.
// A byte holds four weights, and a mask that takes one of them leaves a power of four in front of
// it: four sums are kept and shifted at the end.  The codes' own sum makes up for w + 1.
// A warp takes 16 * TILES rows and every SPLITth piece, its weights all in flight before it waits.
#include "planes.cuh"

constexpr int PIECES = 2 * DEPTH, PIECE = 128;
constexpr int SHARE = (PIECES + SPLIT - 1) / SPLIT;
constexpr int SPAN = 16 * TILES;
constexpr int LINE = SPAN + 4;  // four threads that write 2 tokens apart meet different banks
constexpr int THREADS = 32 * SPLIT;
constexpr int EIGHTS = (TOKENS + 7) / 8;

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
batch_product(const uint4* __restrict__ w, const signed char* x, int* y) {
  __shared__ int parts[SPLIT][8 * EIGHTS][LINE];
  __shared__ int code_sums[SPLIT][8 * EIGHTS];
  const int lane = threadIdx.x & 31, split = threadIdx.x >> 5;
  const int g = lane >> 2, q = lane & 3, tile = blockIdx.x * TILES;

  uint4 weights[TILES][SHARE];
#pragma unroll
  for (int t = 0; t < TILES; t++)
#pragma unroll
    for (int s = 0; s < SHARE; s++) {
      const int piece = s * SPLIT + split;
      weights[t][s] = make_uint4(0, 0, 0, 0);
      if (16 * (tile + t) < ROWS && piece < PIECES)
        weights[t][s] = load_constant(w + ((tile + t) * PIECES + piece) * 32 + lane);
    }
  launch_dependents();
  wait_for_previous();

  int sums[TILES][EIGHTS][4][4] = {}, own[EIGHTS] = {};
#pragma unroll
  for (int s = 0; s < SHARE; s++) {
    const int piece = s * SPLIT + split;
    if (piece >= PIECES) break;
    uint4 codes[EIGHTS][2];
#pragma unroll
    for (int e = 0; e < EIGHTS; e++) {
      const int token = 8 * e + g < TOKENS ? 8 * e + g : 0;
      const signed char* at = x + token * (DEPTH * CHUNK) + piece * PIECE + 32 * q;
      codes[e][0] = load_fresh(at);
      codes[e][1] = load_fresh(at + 16);
    }
#pragma unroll
    for (int e = 0; e < EIGHTS; e++) {
      const unsigned b[8] = {codes[e][0].x, codes[e][0].y, codes[e][0].z, codes[e][0].w,
                             codes[e][1].x, codes[e][1].y, codes[e][1].z, codes[e][1].w};
#pragma unroll
      for (int i = 0; i < 8; i++)
        asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(own[e]) : "r"(0x01010101u), "r"(b[i]));
#pragma unroll
      for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int f = 0; f < 4; f++) {
          const unsigned mask = 0x03030303u << 2 * f;
          const uint4 v = weights[t][s];
          const unsigned a[4] = {v.x & mask, v.y & mask, v.z & mask, v.w & mask};
          multiply_bytes(sums[t][e][f], a, b[2 * f], b[2 * f + 1]);
        }
    }
  }
#pragma unroll
  for (int e = 0; e < EIGHTS; e++) {
    own[e] += __shfl_xor_sync(~0u, own[e], 1);
    own[e] += __shfl_xor_sync(~0u, own[e], 2);
    if (q == 0) code_sums[split][8 * e + g] = own[e];
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int sum = 0;
#pragma unroll
        for (int f = 0; f < 4; f++) sum += sums[t][e][f][i] >> 2 * f;
        parts[split][8 * e + 2 * q + (i & 1)][16 * t + 8 * (i >> 1) + g] = sum;
      }
  }
  __syncthreads();
#pragma unroll 1
  for (int i = threadIdx.x; i < SPAN * TOKENS; i += THREADS) {
    const int token = i / SPAN, row = blockIdx.x * SPAN + i % SPAN;
    int sum = 0;
#pragma unroll
    for (int k = 0; k < SPLIT; k++) sum += parts[k][token][i % SPAN] - code_sums[k][token];
    if (row < ROWS) y[token * ROWS + row] = sum;
  }
}
