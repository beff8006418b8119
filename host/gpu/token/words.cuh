// SPDX-License-Identifier: Apache-2.0
// Where a norm's words come from.  Included by norm.cu.
#pragma once

__device__ __forceinline__ int index_of(int i, int rank) {
  return (i * RANKS + rank) * THREADS + static_cast<int>(threadIdx.x);
}

struct Words {
  int word[PER];
  Small scale;
};

// Words of this thread, zero behind N.
__device__ __forceinline__ Words words_of(Norm& state, int rank, const void* source, int* residual,
                                          const unsigned* in_scale, unsigned alpha, unsigned beta,
                                          const int* tokens, const int* position) {
  Words out;
  if constexpr (SOURCE == EMBED) {
    const signed char* row = static_cast<const signed char*>(source) +
                             static_cast<s64>(fresh(tokens + fresh(position))) * N;
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = index_of(i, rank);
      out.word[i] = at < N ? scale_int(row[at], from_bits(alpha), FRACTION, 24) : 0;
      if (at < N) residual[at] = out.word[i];
    }
    out.scale = {1u << 15, -15 - FRACTION};
  } else if constexpr (SOURCE == ADD) {
    const int* sums = static_cast<const int*>(source);
    int sum[PER], old[PER];
    const unsigned scale_word = fresh(in_scale);
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = index_of(i, rank);
      sum[i] = at < N ? fresh(sums + at) : 0;
      old[i] = at < N ? fresh(residual + at) : 0;
    }
    const Small scale = mul(from_bits(scale_word), from_bits(alpha));
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = index_of(i, rank), addend = scale_int(sum[i], scale, FRACTION, 24);
      const int both = old[i] + addend, peak = 1 << 23;  // of 24 bits each
      out.word[i] = both < -peak ? -peak : both > peak - 1 ? peak - 1 : both;
      if (at < N) residual[at] = out.word[i];
    }
    out.scale = {1u << 15, -15 - FRACTION};
  } else if constexpr (SOURCE == JOIN) {
    const s64* outputs = static_cast<const s64*>(source);
    s64 output[PER];
    Small scale[PER];
    int top = -(1 << 20);
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = index_of(i, rank);
      output[i] = at < N ? fresh(outputs + at) : 0;
      scale[i] = at < N ? from_bits(fresh(in_scale + at / HEAD_DIM)) : Small{0, 0};
    }
    for (int from = 0; from < HEADS; from += 32) {
      const int head = from + static_cast<int>(threadIdx.x) % 32;
      const Small of = head < HEADS ? from_bits(fresh(in_scale + head)) : Small{0, 0};
      const int found = __reduce_max_sync(ALL, of.m ? of.e : -(1 << 20));
      top = found > top ? found : top;
    }
#pragma unroll
    for (int i = 0; i < PER; i++) out.word[i] = joined_word(output[i], scale[i], top, JOIN_PLACES);
    out.scale = top > -(1 << 20) ? shift({1u << 15, -15}, top + JOIN_PLACES) : Small{0, 0};
  } else {
    const int* sums = static_cast<const int*>(source);
    int gate[PER], up[PER], peak = 0;
    const Small scale = from_bits(fresh(in_scale));
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = index_of(i, rank);
      gate[i] = at < N ? fresh(sums + at) : 0;
      up[i] = at < N ? fresh(sums + N + at) : 0;
    }
#pragma unroll
    for (int i = 0; i < PER; i++) peak = gate[i] > peak ? gate[i] : peak;
    share(state.gates, rank, __reduce_max_sync(ALL, peak));
    cluster_barrier();
    const int by = glu_shift(largest_of(state.gates), BOUND_BITS);
#pragma unroll
    for (int i = 0; i < PER; i++) out.word[i] = glu_word(gate[i], up[i], by);
    const Small of_gate = mul(scale, from_bits(alpha));
    out.scale = shift(mul(mul(of_gate, of_gate), mul(scale, from_bits(beta))), by);
  }
  return out;
}
