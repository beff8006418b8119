// SPDX-License-Identifier: Apache-2.0
// y = W x for W [ROWS, COLUMNS] of trits (PLANES 2) or -16..15 (PLANES 5), exact.
//
// W: packed as host/gpu/packing.py says, DEPTH chunks of 256 columns a row.
// x: [TOKENS][DEPTH * 256] byte codes; what lies behind COLUMNS is read and counts nothing.
// y: [TOKENS][ROWS] int32.
// A warp takes 16 * TILES rows and every SPLITth chunk; all its weights are in flight before it
// waits for x.  GROUPS sets of rows share a block.
//
// With LISTED, only the rows `rows[0] .. rows[*count - 1]` are computed and written; the list comes
// from the launch ahead, so no weight is read before that has ended.
#include "rows.cuh"

#ifndef STORE
#define STORE(token, row, sum) y[(token) * ROWS + (row)] = (sum)
#endif

constexpr int THREADS = 32 * SPLIT * GROUPS;
constexpr int BATCH = TOKENS < 4 ? TOKENS : 4;      // vectors between two barriers

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
row_product(const uint2* __restrict__ w, const signed char* x, int* y
#ifdef LISTED
            , const int* rows, const int* count
#endif
) {
  __shared__ int parts[SPLIT][BATCH][SPAN];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int split = warp % SPLIT, group = warp / SPLIT;
  const int first = blockIdx.x * SPAN, local = group * HEIGHT + (lane >> 2);

#ifdef LISTED
  launch_dependents();
  wait_for_previous();
  const int end = load_fresh(count);  // not waited for until the rows have come, too
#else
  constexpr int end = ROWS;
#endif
  const auto row_at = [&](int place) {
#ifdef LISTED
    return place < ROWS ? load_fresh(rows + place) : 0;
#else
    return place;
#endif
  };
  int row_of[TILES][2];
#pragma unroll
  for (int t = 0; t < TILES; t++)
#pragma unroll
    for (int h = 0; h < 2; h++) row_of[t][h] = row_at(first + local + 16 * t + 8 * h);
  if (first >= end) return;

  Words weights[TILES][2][SHARE];
#pragma unroll
  for (int t = 0; t < TILES; t++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int place = first + local + 16 * t + 8 * h;
#pragma unroll
      for (int s = 0; s < SHARE; s++) {
        const int chunk = s * SPLIT + split;
        weights[t][h][s] = Words{};
        if (place < end && chunk < DEPTH)
          weights[t][h][s] = load_words(w, row_of[t][h], chunk, lane & 3);
      }
    }
#ifndef LISTED
  launch_dependents();
  wait_for_previous();
#endif

#pragma unroll 1
  for (int base = 0; base < TOKENS; base += BATCH) {
#pragma unroll(BATCH < 2 ? 1 : 2)
    for (int b = 0; b < BATCH; b++) {
      const int token = base + b < TOKENS ? base + b : base;
      uint4 codes[SHARE][4];
#pragma unroll
      for (int s = 0; s < SHARE; s++) {
        const int chunk = s * SPLIT + split;
        // Where there is no such chunk the weights are zero: any codes do.
        load_codes(codes[s], x + (token * DEPTH + (chunk < DEPTH ? chunk : 0)) * CHUNK, lane);
      }
      multiply_rows(weights, codes, parts[split][b], local, lane);
    }
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < SPAN * BATCH; i += THREADS) {
      const int b = i / SPAN, place = first + i % SPAN;
      int sum = 0;
#pragma unroll
      for (int k = 0; k < SPLIT; k++) sum += parts[k][b][i % SPAN];
      if (place < end && base + b < TOKENS) STORE(base + b, row_at(place), sum);
    }
    if (TOKENS > BATCH) __syncthreads();
  }
}
