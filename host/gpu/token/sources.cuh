// SPDX-License-Identifier: Apache-2.0
// Words that a product computes itself from what the launch ahead left.  Included by
// fused_product.cu.
#pragma once

// The heads' outputs on one exponent; returns the unit.
__device__ __forceinline__ Small joined_words(Vector& out, const s64* outputs,
                                              const unsigned* scales) {
  s64 output[SHARE][2][RUN];
  unsigned scale[SHARE][2][RUN];
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int at = run_at(s, h);
      load_run(output[s][h], outputs, at);
#pragma unroll
      for (int k = 0; k < RUN; k++)
        scale[s][h][k] = k > 0 && HEAD_DIM % RUN == 0 ? scale[s][h][0]
                         : at + k < N                 ? fresh(scales + (at + k) / HEAD_DIM)
                                                      : 0;
    }
  int top = -(1 << 20);
#pragma unroll
  for (int from = 0; from < HEADS; from += 32) {
    const int head = from + static_cast<int>(threadIdx.x) % 32;
    const Small of = head < HEADS ? from_bits(fresh(scales + head)) : Small{0, 0};
    const int found = __reduce_max_sync(ALL, of.m ? of.e : -(1 << 20));
    top = found > top ? found : top;
  }
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int k = 0; k < RUN; k++)
        out.word[s][h][k] =
            joined_word(output[s][h][k], from_bits(scale[s][h][k]), top, JOIN_PLACES);
  return top > -(1 << 20) ? shift({1u << 15, -15}, top + JOIN_PLACES) : Small{0, 0};
}

// relu(gate)**2 * up of sums [2 N], `peaks` being partial maxima of the gates; returns the shift.
__device__ __forceinline__ int glu_words(Vector& out, const int* sums, const int* peaks) {
  int gate[SHARE][2][RUN], up[SHARE][2][RUN], largest = 0;
#pragma unroll
  for (int k = 0; k < PEAKS; k += 32) {
    const int at = k + static_cast<int>(threadIdx.x) % 32;
    const int other = at < PEAKS ? fresh(peaks + at) : 0;
    largest = other > largest ? other : largest;
  }
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      load_run(gate[s][h], sums, run_at(s, h));
      load_run(up[s][h], sums + N, run_at(s, h));
    }
  const int by = glu_shift(__reduce_max_sync(ALL, largest), BOUND_BITS);
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int k = 0; k < RUN; k++)
        out.word[s][h][k] = BOUND_BITS <= 15 ? short_glu_word(gate[s][h][k], up[s][h][k], by)
                                             : glu_word(gate[s][h][k], up[s][h][k], by);
  return by;
}
