// SPDX-License-Identifier: Apache-2.0
// Words that a launch adds to the residual stream, and what the next norm has to know of them all:
// partial sums of squares and partial statistics of its quantiser, one of each a warp.
#pragma once
#include "block.cuh"

// `partials`: PARTS_OUT sums of squares, then as many statistics.
__device__ __forceinline__ void put_statistics(int word, int gain, int place, u64* partials) {
  const u64 square = static_cast<u64>(static_cast<s64>(word) * word);
  const s64 product = static_cast<s64>(word) * gain;
  const u64 magnitude = product < 0 ? -product : product;
  const u64 squares = warp_sum<54>(square);
  const u64 statistic = NEXT_MEAN ? warp_sum<54>(magnitude) : warp_max(magnitude);
  if (threadIdx.x % 32 == 0) {
    partials[place] = squares;
    partials[PARTS_OUT + place] = statistic;
  }
}

__device__ __forceinline__ int add_words(int old, int addend) {
  const int both = old + addend, peak = 1 << 23;  // of 24 bits each
  return both < -peak ? -peak : both > peak - 1 ? peak - 1 : both;
}
