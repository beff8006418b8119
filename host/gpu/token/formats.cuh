// SPDX-License-Identifier: Apache-2.0
// Quantisers, rows of the cache, RoPE, softmax weights: docs/numerics.md, sections 3 and 6 to 9.
#pragma once
#include "smallfloat.cuh"

constexpr int INT4 = 0, INT8 = 1, FP4 = 2;

// Nearest doubled E2M1 code to y * r, r <= 12; ties to the even mantissa.
__device__ __forceinline__ int e2m1_code(s64 y, Small r) {
  const u64 v = static_cast<u64>(y < 0 ? -y : y) * r.m;
  const int places = -r.e - 1;  // twice the value is v / 2**places
  if (v == 0) return 0;
  const u64 twice = places > 63 ? 0 : v >> places;
  const bool rest = places > 63 || (v & ((1ull << places) - 1)) != 0;
  const u64 past = twice * 2 + rest;  // odd: between two integers
  const int index = (past > 2) + (past >= 6) + (past > 10) + (past >= 14) + (past > 20) +
                    (past >= 28) + (past > 40);
  const int code = index < 5 ? index : index == 5 ? 6 : index == 6 ? 8 : 12;
  return y < 0 ? -code : code;
}

__device__ __forceinline__ int activation_code(s64 y, Small ratio, int format) {
  if (format == FP4) return e2m1_code(y, ratio);
  return scale_int(y, ratio, 0, format == INT4 ? 4 : 8);
}

// What is left of the norm once the codes are known: their scale.
__device__ __forceinline__ Small norm_scale(u64 square_sum, u64 statistic, Small scale, Small gain,
                                            Small eps, Small levels) {
  const Small root = sqrt(add(mul(from_int(square_sum), mul(scale, scale)), eps));
  const Small unit = div(mul(scale, gain), root);
  return mul(div(from_int(statistic), levels), unit);
}

// One half of a rotated pair, (a, b) -> a c - b s; for the other half give (b, -a).
__device__ __forceinline__ int rotated(int a, int b, int cos, int sin, int extra) {
  const s64 turned = static_cast<s64>(a) * cos - static_cast<s64>(b) * sin;
  return static_cast<int>(saturate(round_shift(turned, 14 - extra), 24));
}

// Largest code of a row (mid-rise) or its largest magnitude (symmetric).
__device__ __forceinline__ unsigned row_levels(int bits, bool midrise) {
  return (1u << (midrise ? bits : bits - 1)) - 1;
}

__device__ __forceinline__ int row_code(s64 x, Small ratio, int bits, bool midrise) {
  const int levels = static_cast<int>(row_levels(bits, midrise));
  if (!midrise) {
    const int u = scale_int(x, ratio, 0, 24) + levels + 1, top = (1 << bits) - 1;
    return u < 0 ? 0 : u > top ? top : u;
  }
  if (x == 0) return static_cast<int>(round_word(levels, 1));
  const int u = nearest_int((double_of(x) * double_of(ratio) + levels) * 0.5);
  return u < 0 ? 0 : u > levels ? levels : u;
}

// What attention multiplies by.
__device__ __forceinline__ int row_step(int u, int bits, bool midrise) {
  return midrise ? 2 * u - ((1 << bits) - 1) : u - (1 << (bits - 1));
}

// The 16-bit KV scale nearest to a small float.
__device__ __forceinline__ unsigned encode_kv_scale(Small s) {
  if (s.m == 0) return 0;
  const int code = (s.e + 55) * 1024 + static_cast<int>(round_word(s.m, 5)) - 1024;
  return code < 0 ? 0 : code > 0xFFFF ? 0xFFFF : static_cast<unsigned>(code);
}

__device__ __forceinline__ Small decode_kv_scale(unsigned code) {
  if (code == 0) return {0, 0};
  return {(1024 + (code & 1023)) << 5, static_cast<int>(code >> 10) - 55};
}

// KV scale of a row whose largest magnitude is `peak`.
__device__ __forceinline__ unsigned row_scale(unsigned peak, Small scale, int bits, bool midrise) {
  const Small levels = from_word(row_levels(bits, midrise));
  return encode_kv_scale(div(mul(from_word(peak), scale), levels));
}

__device__ __forceinline__ Small row_ratio(unsigned peak, int bits, bool midrise) {
  return div(from_word(row_levels(bits, midrise)), from_word(peak));
}

// 2**15 * 2**(-distance / 256) by the table's 256 entries.
__device__ __forceinline__ unsigned exp2_weight(int distance, const unsigned short* table) {
  if (distance >= 4096) return 0;
  const unsigned entry = table[distance & 255], places = static_cast<unsigned>(distance >> 8);
  return round_word(entry, places);
}

// Weight of a value row with its scale, on the common exponent.
__device__ __forceinline__ unsigned value_weight(unsigned weight, Small scale, int common) {
  const int places = common - scale.e + 8;
  if (scale.m == 0 || places > 31) return 0;
  return round_word(weight * scale.m, static_cast<unsigned>(places));
}

// Code of such a weight; `ratio` is div(levels, from_int(largest weight)).
__device__ __forceinline__ unsigned weight_code(unsigned weight, Small ratio, unsigned levels) {
  const unsigned code = static_cast<unsigned>(scale_int(weight, ratio, 0, 24));
  return code < levels ? code : levels;
}

// Scale of a head's outputs.
__device__ __forceinline__ Small head_scale(unsigned peak, int common, unsigned total,
                                            unsigned levels) {
  const Small per_weight = div(shift({1u << 15, -15}, 8 + common), from_word(total));
  return mul(div(from_word(peak), from_word(levels)), per_weight);
}

// A head's output, |output| <= 2**37, as a word on the common exponent `top`.
__device__ __forceinline__ int joined_word(s64 output, Small scale, int top, int places) {
  return scale_int(output, scale, -top - places, 24);
}

// Shift of the ReLU^2 GLU for the largest gate sum; `bound_bits` is that of the bound on up.
__device__ __forceinline__ int glu_shift(int largest, int bound_bits) {
  const int by = 2 * bit_length(largest > 0 ? largest : 0) + bound_bits - 23;
  return by > 0 ? by : 0;
}

__device__ __forceinline__ int glu_word(int gate, int up, int by) {
  const s64 relu = gate > 0 ? gate : 0;
  return static_cast<int>(saturate(round_shift(relu * relu * up, by), 24));
}

// The same where gate and up are below 2**15, so that `by` is at most 22.
__device__ __forceinline__ int short_glu_word(int gate, int up, int by) {
  const int relu = gate > 0 ? gate : 0, some = by > 0, most = (1 << 23) - 1;
  const s64 product = static_cast<s64>(relu * relu) * up;
  const int odd = static_cast<int>(product >> by) & some;
  const int word = static_cast<int>((product + ((1 << by >> 1) - some + odd)) >> by);
  return word > most ? most : word;
}
