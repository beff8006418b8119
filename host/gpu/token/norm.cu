// SPDX-License-Identifier: Apache-2.0
// One vector of N words through RMSNorm and a quantiser: docs/numerics.md, sections 3, 4, 9 and 10.
//
// SOURCE says where the words come from, and what is done on the way:
//   EMBED  the embedding's row of the token at `position`; kept in `residual`
//   ADD    residual + sums * scale, saturated; kept in `residual`
//   JOIN   HEADS outputs of attention with a scale each, brought to one exponent
//   GLU    relu(gate)**2 * up of sums [2 N]
// FORMAT: INT4, INT8 or FP4.  With KEEP >= 0 only that many codes of the largest key stay, the
// others are zero: of every BLOCK, and LAST of what remains behind the last whole one.  With LIST
// the codes that are not zero also go to `entries`, index in bits 23:0, value above, and their
// number to `count`.
//
// One block.  Scales are 24-bit words.  No element of `codes` behind N is written.
#include "block.cuh"

constexpr int EMBED = 0, ADD = 1, JOIN = 2, GLU = 3;
constexpr int PER = (N + THREADS - 1) / THREADS;  // elements i * THREADS + threadIdx.x
constexpr bool MEAN = FORMAT == INT4;

#include "top_k.cuh"

struct Words {
  int word[PER];
  Small scale;
};

// Words of this thread, zero behind N.
__device__ __forceinline__ Words words_of(const void* source, int* residual,
                                          const unsigned* in_scale, unsigned alpha, unsigned beta,
                                          const int* tokens, const int* position) {
  Words out;
  const auto index = [](int i) { return i * THREADS + static_cast<int>(threadIdx.x); };
  if constexpr (SOURCE == EMBED) {
    const signed char* row =
        static_cast<const signed char*>(source) +
        static_cast<s64>(fresh(tokens + fresh(position))) * N;
#pragma unroll
    for (int i = 0; i < PER; i++) {
      out.word[i] = index(i) < N ? scale_int(row[index(i)], from_bits(alpha), FRACTION, 24) : 0;
      if (index(i) < N) residual[index(i)] = out.word[i];
    }
    out.scale = {1u << 15, -15 - FRACTION};
  } else if constexpr (SOURCE == ADD) {
    const int* sums = static_cast<const int*>(source);
    int sum[PER], old[PER];
#pragma unroll
    for (int i = 0; i < PER; i++) {
      sum[i] = index(i) < N ? fresh(sums + index(i)) : 0;
      old[i] = index(i) < N ? fresh(residual + index(i)) : 0;
    }
    const Small scale = mul(from_bits(fresh(in_scale)), from_bits(alpha));
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int addend = scale_int(sum[i], scale, FRACTION, 24);
      out.word[i] = static_cast<int>(saturate(static_cast<s64>(old[i]) + addend, 24));
      if (index(i) < N) residual[index(i)] = out.word[i];
    }
    out.scale = {1u << 15, -15 - FRACTION};
  } else if constexpr (SOURCE == JOIN) {
    const s64* outputs = static_cast<const s64*>(source);
    s64 output[PER];
    Small scale[PER];
    int top = -(1 << 20);
#pragma unroll
    for (int i = 0; i < PER; i++) {
      output[i] = index(i) < N ? fresh(outputs + index(i)) : 0;
      scale[i] = index(i) < N ? from_bits(fresh(in_scale + index(i) / HEAD_DIM)) : Small{0, 0};
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
    SHARED IntParts largest;
    const int* sums = static_cast<const int*>(source);
    int gate[PER], up[PER], peak = 0;
#pragma unroll
    for (int i = 0; i < PER; i++) {
      gate[i] = index(i) < N ? fresh(sums + index(i)) : 0;
      up[i] = index(i) < N ? fresh(sums + N + index(i)) : 0;
    }
#pragma unroll
    for (int i = 0; i < PER; i++) peak = gate[i] > peak ? gate[i] : peak;
    largest.put(__reduce_max_sync(ALL, peak));
    __syncthreads();
    const int by = glu_shift(largest.largest(), BOUND_BITS);
#pragma unroll
    for (int i = 0; i < PER; i++) out.word[i] = glu_word(gate[i], up[i], by);
    const Small scale = from_bits(fresh(in_scale)), of_gate = mul(scale, from_bits(alpha));
    out.scale = shift(mul(mul(of_gate, of_gate), mul(scale, from_bits(beta))), by);
  }
  return out;
}

KERNEL fused_norm(const void* source, int* residual, const unsigned* in_scale, unsigned alpha,
            unsigned beta, const short* gains, unsigned gain_scale, unsigned eps, unsigned levels,
            signed char* codes, unsigned* out_scale, const int* tokens, const int* position,
            unsigned* entries, int* count) {
  SHARED Parts squares, statistics;
  int gain[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const int at = i * THREADS + threadIdx.x;
    gain[i] = at < N ? gains[at] : 0;
  }
  follow();
  const Words in = words_of(source, residual, in_scale, alpha, beta, tokens, position);

  u64 square_sum = 0, statistic = 0;
  s64 y[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    square_sum += static_cast<u64>(static_cast<s64>(in.word[i]) * in.word[i]);
    y[i] = static_cast<s64>(in.word[i]) * gain[i];
    const u64 magnitude = y[i] < 0 ? -y[i] : y[i];
    statistic = MEAN ? statistic + magnitude : magnitude > statistic ? magnitude : statistic;
  }
  squares.put(warp_sum(square_sum));
  statistics.put(MEAN ? warp_sum(statistic) : warp_max(statistic));
  __syncthreads();
  statistic = MEAN ? statistics.sum() : statistics.largest();
  const Small ratio = div(from_bits(levels), from_int(statistic));
  int code[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) code[i] = activation_code(y[i], ratio, FORMAT);
  if constexpr (KEEP >= 0) keep_largest(code, y);
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const int at = i * THREADS + threadIdx.x;
    if (at < N) codes[at] = static_cast<signed char>(code[i]);
  }
  if (threadIdx.x >= THREADS - 32) {
    square_sum = squares.sum();
    if (threadIdx.x == THREADS - 1)
      *out_scale = to_bits(norm_scale(square_sum, statistic, in.scale, from_bits(gain_scale),
                                      from_bits(eps), from_bits(levels)));
  }
  if constexpr (LIST) list_codes(code, entries, count);
}
