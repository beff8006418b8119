// SPDX-License-Identifier: Apache-2.0
// The residual stream as a token begins: the embedding's row, and partial statistics of it, laid out
// as those of the products that add to the stream.
constexpr int RANKS = 1, WAVES = (SPAN + 31) / 32, THREADS = 32 * WAVES;
#include "residual.cuh"

KERNEL begin(const signed char* embedding, unsigned scale, const int* tokens, const int* position,
             int* residual, const short* next_gains, u64* out_parts) {
  const int row = blockIdx.x * SPAN + static_cast<int>(threadIdx.x);
  const bool writes = threadIdx.x < SPAN && row < ROWS;
  const int gain = writes ? next_gains[row] : 0;
  follow();
  const signed char* codes = embedding + static_cast<s64>(fresh(tokens + fresh(position))) * ROWS;
  const int word = writes ? scale_int(codes[row], from_bits(scale), FRACTION, 24) : 0;
  if (writes) residual[row] = word;
  put_statistics(word, gain, blockIdx.x * WAVES + threadIdx.x / 32, out_parts);
}
