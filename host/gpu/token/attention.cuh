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
constexpr int ROWS = THREADS / PARTS;        // keys at a time
constexpr int SHARES = THREADS / WIDTH;      // threads that share an element of the output
static_assert(THREADS >= WIDTH + 96 && PARTS <= 32, "threads for codes and three for scales");

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
                                         const unsigned (&weights)[C_DIGITS][SETS * 8], int set) {
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

// By the threads 0 .. WIDTH - 1: codes of a new key and value to a slot, or to BOS for slot -1.
__device__ __forceinline__ void store_row(unsigned* keys, unsigned* values, unsigned* bos, int key,
                                          int value, int slot) {
  const int span = threadIdx.x / 32, lane = threadIdx.x % 32;
  constexpr int most = KV_BITS > BOS_BITS ? KV_BITS : BOS_BITS;
#pragma unroll
  for (int p = 0; p < most; p++) {
    const unsigned key_word = __ballot_sync(ALL, key >> p & 1);
    const unsigned value_word = __ballot_sync(ALL, value >> p & 1);
    if (slot < 0) {
      if (p < BOS_BITS && lane == 0) {
        bos[span * BOS_BITS + p] = key_word;
        bos[(SPANS + span) * BOS_BITS + p] = value_word;
      }
    } else if (p < KV_BITS) {
      if (lane == 0) keys[((slot / 32 * SPANS + span) * KV_BITS + p) * 32 + slot % 32] = key_word;
      unsigned* at = values + (slot / 32 * KV_BITS + p) * WIDTH + threadIdx.x;
      *at = (fresh(at) & ~(1u << slot % 32)) | static_cast<unsigned>(value >> p & 1) << slot % 32;
    }
  }
}
