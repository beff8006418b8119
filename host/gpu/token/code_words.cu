// SPDX-License-Identifier: Apache-2.0
// Codes of the residual stream behind the last norm, and their scale, by one block.
constexpr int RANKS = 1, THREADS = 32 * (SPLIT + 1), SHARE = (DEPTH + SPLIT - 1) / SPLIT;
#include "coding.cuh"

KERNEL code_words(const int* residual, const u64* in_parts, const short* gains, unsigned gain_scale,
                  unsigned eps, unsigned levels, signed char* codes, unsigned* out_scale) {
  const Gains gain(gains);
  follow();
  Vector x;
  residual_words(x, residual);
  const u64 statistic = statistic_of<PARTS_IN>(in_parts + PARTS_IN);
  if (threadIdx.x < 32 * SPLIT) {
    const Coder coder(div(from_bits(levels), from_int(statistic)));
#pragma unroll
    for (int s = 0; s < SHARE; s++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int at = run_at(s, h);
        const unsigned word = coder.run(x.word[s][h], gain.of[s][h]);
        if (at < N) reinterpret_cast<unsigned*>(codes)[at / RUN] = word;
      }
  } else {
    const u64 squares = square_sum_of<PARTS_IN>(in_parts);
    const Small scale = norm_scale(squares, statistic, residual_unit(), from_bits(gain_scale),
                                   from_bits(eps), from_bits(levels));
    if (threadIdx.x == 32 * SPLIT) *out_scale = to_bits(scale);
  }
}
