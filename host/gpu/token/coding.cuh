// SPDX-License-Identifier: Apache-2.0
// Words of a vector in the registers of the warps that multiply by them, and their codes.
//
// A warp takes every SPLITth chunk of 256 elements, SHARE of them at most; of a chunk a thread
// takes 4 * lane .. 4 * lane + 3 of both halves.  N elements; behind them are zeros.
#pragma once
#include "block.cuh"

constexpr int RUN = 4;  // neighbours of a thread
constexpr bool MEAN = FORMAT == INT4;

// First element of a thread's run.
__device__ __forceinline__ int run_at(int s, int half) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  return warp < SPLIT ? (s * SPLIT + warp) * 256 + half * 128 + lane * RUN : N;
}

// A run; zeros behind N.
template <class T, class Out>
__device__ __forceinline__ void load_run(Out (&out)[RUN], const T* from, int at) {
  T own[RUN] = {};
  if constexpr (N % RUN == 0) {
    if (at < N) fresh4(own, from + at);
  } else {
#pragma unroll
    for (int k = 0; k < RUN; k++)
      if (at + k < N) own[k] = fresh(from + at + k);
  }
#pragma unroll
  for (int k = 0; k < RUN; k++) out[k] = own[k];
}

struct Vector {
  int word[SHARE][2][RUN];
};

// One unit of the residual stream.
__device__ __forceinline__ Small residual_unit() { return {1u << 15, -15 - FRACTION}; }

__device__ __forceinline__ void residual_words(Vector& out, const int* residual) {
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++) load_run(out.word[s][h], residual, run_at(s, h));
}

struct Gains {
  short of[SHARE][2][RUN];
  __device__ __forceinline__ explicit Gains(const short* gains) {
#pragma unroll
    for (int s = 0; s < SHARE; s++)
#pragma unroll
      for (int h = 0; h < 2; h++) load_run(of[s][h], gains, run_at(s, h));
  }
};

__device__ __forceinline__ u64 magnitude_of(int word, int gain) {
  const unsigned a = word < 0 ? -word : word, b = gain < 0 ? -gain : gain;
  return static_cast<u64>(a) * b;
}

// What the quantiser divides by: over all partial ones of the launch ahead.
template <int COUNT>
__device__ __forceinline__ u64 statistic_of(const u64* partials) {
  u64 out = 0;
#pragma unroll
  for (int k = 0; k < COUNT; k += 32) {
    const int at = k + static_cast<int>(threadIdx.x) % 32;
    const u64 other = at < COUNT ? fresh(partials + at) : 0;
    out = MEAN ? out + other : other > out ? other : out;
  }
  return MEAN ? warp_sum<54>(out) : warp_max(out);
}

template <int COUNT>
__device__ __forceinline__ u64 square_sum_of(const u64* partials) {
  u64 out = 0;
#pragma unroll
  for (int k = 0; k < COUNT; k += 32) {
    const int at = k + static_cast<int>(threadIdx.x) % 32;
    out += at < COUNT ? fresh(partials + at) : 0;
  }
  return warp_sum<63>(out);
}

// Codes of words times gains, four in a word.
struct Coder {
  Small ratio;
  double factor;

  __device__ __forceinline__ explicit Coder(Small of) : ratio(of), factor(double_of(of)) {}

  __device__ __forceinline__ unsigned run(const int (&word)[RUN], const short (&gain)[RUN]) const {
    constexpr int most = FORMAT == INT4 ? 7 : 127;
    int code[RUN];
#pragma unroll
    for (int k = 0; k < RUN; k++) {
      const s64 y = static_cast<s64>(word[k]) * gain[k];
      if (FORMAT == FP4) {
        code[k] = e2m1_code(y, ratio);
      } else {
        const int nearest = nearest_product(double_of(y), factor);  // y over a mean: below 2**20
        code[k] = nearest < -most - 1 ? -most - 1 : nearest > most ? most : nearest;
      }
    }
    return (code[0] & 255) | (code[1] & 255) << 8 | (code[2] & 255) << 16 |
           static_cast<unsigned>(code[3]) << 24;
  }
};
