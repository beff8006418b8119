// SPDX-License-Identifier: Apache-2.0
// Rows of the cache as words of one bit, and products with them.  Included by attention.cu.
#pragma once
#include "block.cuh"

constexpr int SPANS = (HEAD_DIM + 31) / 32;  // words that hold one bit of a row
constexpr int WIDTH = 32 * SPANS;
constexpr int SETS = (SLOTS + 31) / 32;      // words that hold one bit of an element
constexpr int PADDED = 32 * SETS;
constexpr int CACHE_WORDS = SETS * KV_BITS * WIDTH;
constexpr int Q_DIGITS = Q_BITS > 8 ? 2 : 1, C_DIGITS = C_BITS > 8 ? 2 : 1;
constexpr int STEP = MIDRISE ? 2 : 1;        // a step is STEP * u - OFFSET
constexpr int OFFSET = MIDRISE ? (1 << KV_BITS) - 1 : 1 << (KV_BITS - 1);
constexpr int NO_SCORE = -(1 << 30);

__device__ constexpr int power_from(int least) {
  int out = 1;
  while (out < least) out *= 2;
  return out;
}
constexpr int PARTS = power_from(SPANS);     // threads that share a key
constexpr int ROWS = THREADS / PARTS;        // keys that a block takes at a time
constexpr int SHARES = THREADS / WIDTH;      // threads that share an element of the output
constexpr int PASSES = (SLOTS + ROWS * RANKS - 1) / (ROWS * RANKS);
constexpr int OWN = PASSES * ROWS;           // a block's places for slots; behind: new row, BOS
constexpr int NO_EXPONENT = -(1 << 20);
static_assert(THREADS >= WIDTH + 96 && ROWS % 32 == 0, "threads for codes and scales, whole words");

struct Head {
  s64 part[THREADS];
  s64 outputs[RANKS][WIDTH];
  unsigned query[Q_DIGITS][SPANS * 8];     // bytes: element 8 b + i in byte b of word i
  unsigned weights[C_DIGITS][OWN / 4];     // the same of places
  int score[OWN + 2];                      // then weights
  int dots[3][SPANS];                      // query by new key, by BOS's, and its own sum
  int peaks[3][SPANS];
  int tops[PARTIALS], exponents[PARTIALS], totals[PARTIALS], heaviest[PARTIALS];
  int code_sums[WARPS];
  unsigned new_scales[2];
  unsigned short exp2_of[256], value_scale[OWN + 2];
  Small unit;
};

// Slot of a block's place: blocks take ROWS in turn.
__device__ __forceinline__ int slot_of(int place, int rank) {
  return (place / ROWS * RANKS + rank) * ROWS + place % ROWS;
}

// By whole warps.
__device__ __forceinline__ int sum_of_warps(const int* of, int count = SPANS) {
  const int lane = threadIdx.x % 32;
  return __reduce_add_sync(ALL, lane < count ? of[lane] : 0);
}
__device__ __forceinline__ unsigned peak_of(const Head& state, int vector) {
  const int lane = threadIdx.x % 32;
  return __reduce_max_sync(ALL, lane < SPANS ? state.peaks[vector][lane] : 0);
}
__device__ __forceinline__ void put_sum(int* of, int v) {
  const int sum = __reduce_add_sync(ALL, v);
  if (threadIdx.x % 32 == 0) of[threadIdx.x / 32] = sum;
}

__device__ __forceinline__ void load_key(unsigned (&word)[KV_BITS], const unsigned* keys, int row,
                                         int span, int held) {
#pragma unroll
  for (int p = 0; p < KV_BITS; p++)
    word[p] = row < held && span < SPANS
                  ? fresh(keys + ((row / 32 * SPANS + span) * KV_BITS + p) * 32 + row % 32)
                  : 0;
}

__device__ __forceinline__ void load_value(unsigned (&word)[KV_BITS], const unsigned* values,
                                           int set, int element, int held) {
#pragma unroll
  for (int p = 0; p < KV_BITS; p++)
    word[p] = set * 32 < held ? fresh(values + (set * KV_BITS + p) * WIDTH + element) : 0;
}

// Codes 8 b + i, b = 0..3, of 32, as four bytes.
__device__ __forceinline__ unsigned four_codes(const unsigned (&word)[KV_BITS], int i) {
  unsigned out = 0;
#pragma unroll
  for (int p = 0; p < KV_BITS; p++) {
    const unsigned moved = p > i ? word[p] << (p - i) : word[p] >> (i - p);
    out |= moved & (0x01010101u << p);
  }
  return out;
}

__device__ __forceinline__ int key_dot(const unsigned (&word)[KV_BITS],
                                       const unsigned (&query)[Q_DIGITS][8]) {
  int low = 0, high = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const unsigned codes = four_codes(word, i);
    low = dot_signed(codes, query[0][i], low);
    if (Q_DIGITS == 2) high = dot_signed(codes, query[Q_DIGITS - 1][i], high);
  }
  return low + 16 * high;
}

__device__ __forceinline__ s64 value_dot(const unsigned (&word)[KV_BITS],
                                         const unsigned (&weights)[C_DIGITS][OWN / 4], int set) {
  unsigned low = 0, high = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const unsigned codes = four_codes(word, i);
    low = dot_unsigned(codes, weights[0][set * 8 + i], low);
    if (C_DIGITS == 2) high = dot_unsigned(codes, weights[C_DIGITS - 1][set * 8 + i], high);
  }
  return static_cast<s64>(low) + (static_cast<s64>(high) << 8);
}

// Byte for element or slot `at`, where the bits above find it.
__device__ __forceinline__ void put_byte(unsigned* words, int at, int byte) {
  reinterpret_cast<unsigned char*>(words)[at / 32 * 32 + at % 8 * 4 + at % 32 / 8] =
      static_cast<unsigned char>(byte);
}

__device__ __forceinline__ int bos_code(const unsigned* row, int element) {
  int code = 0;
#pragma unroll
  for (int p = 0; p < BOS_BITS; p++)
    code |= (fresh(row + element / 32 * BOS_BITS + p) >> element % 32 & 1) << p;
  return code;
}
