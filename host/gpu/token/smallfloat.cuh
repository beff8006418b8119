// SPDX-License-Identifier: Apache-2.0
// Small floats m * 2**e in integers: docs/numerics.md, section 1.  Compiles as CUDA and as C++.
#pragma once

#ifndef __CUDACC__
#include <math.h>
#define __device__
#define __forceinline__ inline
#endif

typedef unsigned long long u64;
typedef long long s64;

struct Small {
  unsigned m;  // 0, or 2^15..2^16-1
  int e;       // -128..127; 0 where m is
};

__device__ __forceinline__ int bit_length(u64 v) {
#ifdef __CUDACC__
  return 64 - __clzll(static_cast<s64>(v));
#else
  return v ? 64 - __builtin_clzll(v) : 0;
#endif
}

__device__ __forceinline__ int word_length(unsigned v) {
#ifdef __CUDACC__
  return 32 - __clz(static_cast<int>(v));
#else
  return v ? 32 - __builtin_clz(v) : 0;
#endif
}

// Estimates; integers decide what becomes of them.
__device__ __forceinline__ float rough_quotient(float a, float b) {
#ifdef __CUDACC__
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
  return a * r;
#else
  return a / b;
#endif
}
__device__ __forceinline__ float rough_root(float a) {
#ifdef __CUDACC__
  float r;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
  return r;
#else
  return sqrtf(a);
#endif
}

// Doubles.  They hold integers of 53 bits, so a word of 37 bits times a mantissa of 16; adding
// SHIFTER, 1.5 * 2**52, rounds to the nearest integer, ties to even, and leaves it in the low bits.
constexpr double SHIFTER = 6755399441055744.0;

__device__ __forceinline__ double double_of_bits(u64 bits) {
#ifdef __CUDACC__
  return __longlong_as_double(static_cast<s64>(bits));
#else
  double out;
  __builtin_memcpy(&out, &bits, sizeof out);
  return out;
#endif
}
__device__ __forceinline__ double double_of(s64 v) {  // |v| < 2**51
  return double_of_bits(static_cast<u64>(v + 0x4338000000000000)) - SHIFTER;
}
__device__ __forceinline__ double double_of(Small s, int by = 0) {  // s * 2**by
  const unsigned high = static_cast<unsigned>(1038 + s.e + by) << 20 | (s.m & 0x7FFF) << 5;
  return double_of_bits(s.m ? static_cast<u64>(high) << 32 : 0);
}
// Nearest integer to a * b, below 2**31, where the product is exact.
__device__ __forceinline__ int nearest_product(double a, double b) {
#ifdef __CUDACC__
  return __double2loint(__fma_rn(a, b, SHIFTER));
#else
  const double shifted = a * b + SHIFTER;
  u64 bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  return static_cast<int>(bits);
#endif
}
__device__ __forceinline__ int nearest_int(double v) { return nearest_product(v, 1); }

// v / 2**places to nearest, ties to even; v below 2**31, at most 31 places.
__device__ __forceinline__ unsigned round_word(unsigned v, unsigned places) {
  const unsigned floor = v >> places, low = v & ((1u << places) - 1), half = (1u << places) >> 1;
  return floor + (places > 0 && low + (floor & 1) > half);
}

// The same for |v| <= 2**60 and any places >= 0.
__device__ __forceinline__ s64 round_shift(s64 v, int places) {
  if (places <= 0) return v;
  if (places > 61) return 0;
  return (v + ((1ll << (places - 1)) - 1) + (v >> places & 1)) >> places;
}

__device__ __forceinline__ s64 saturate(s64 v, int bits) {
  const s64 peak = 1ll << (bits - 1);
  return v < -peak ? -peak : v > peak - 1 ? peak - 1 : v;
}

__device__ __forceinline__ Small limit(unsigned m, int e) {
  if (e > 127) return {65535, 127};
  if (e < -128) return {0, 0};
  return {m, e};
}

// Nearest small float to a v that is not zero, without the ends of the exponent's range.
__device__ __forceinline__ Small nearest(u64 v) {
  const int spare = 64 - bit_length(v);
  const u64 justified = v << spare;
  const unsigned high = static_cast<unsigned>(justified >> 32), rest = high & 0xFFFF;
  const bool more = static_cast<unsigned>(justified) != 0;
  unsigned m = high >> 16;
  m += rest + ((m & 1) | more) > 0x8000;
  const int carry = m >> 16;  // of rounding
  return {m >> carry, 48 - spare + carry};
}

__device__ __forceinline__ Small from_int(u64 n) { return n ? nearest(n) : Small{0, 0}; }

// The same for n below 2**32.
__device__ __forceinline__ Small from_word(unsigned n) {
  if (n == 0) return {0, 0};
  const int spare = 32 - word_length(n);
  const unsigned justified = n << spare;
  unsigned m = justified >> 16;
  m += (justified & 0xFFFF) + (m & 1) > 0x8000;
  const int carry = m >> 16;
  return {m >> carry, 16 - spare + carry};
}

// Nearest small float to v * 2**e; all but 16 bits of v are `drop` > 0 of them.
__device__ __forceinline__ Small narrow(unsigned v, int drop, int e) {
  const unsigned floor = v >> drop, low = v & ((1u << drop) - 1);
  const unsigned m = floor + (low + (floor & 1) > 1u << (drop - 1)), carry = m >> 16;
  return limit(m >> carry, e + drop + static_cast<int>(carry));
}

__device__ __forceinline__ Small mul(Small a, Small b) {
  if (a.m == 0 || b.m == 0) return {0, 0};
  const unsigned product = a.m * b.m;
  return narrow(product, 15 + (product >> 31), a.e + b.e);
}

__device__ __forceinline__ Small div(Small a, Small b) {
  if (b.m == 0) return a.m ? Small{65535, 127} : Small{0, 0};
  if (a.m == 0) return {0, 0};
  // The estimate of a quotient below 2**17 is off by one at most.
  unsigned q = static_cast<unsigned>(rough_quotient(static_cast<float>(a.m) * 65536.0f,
                                                    static_cast<float>(b.m)));
  int rest = static_cast<int>((a.m << 16) - q * b.m);
  const int divisor = static_cast<int>(b.m);
  if (rest < 0) {
    q--;
    rest += divisor;
  }
  if (rest >= divisor) {
    q++;
    rest -= divisor;
  }
  // One more bit, and one for whether anything is left.
  const bool more = 2 * rest >= divisor;
  const unsigned v = 4 * q + 2 * more + (2 * rest != (more ? divisor : 0));
  return narrow(v, 2 + static_cast<int>(v >> 18), a.e - b.e - 18);
}

__device__ __forceinline__ Small sqrt(Small a) {
  if (a.m == 0) return {0, 0};
  const int odd = a.e & 1;
  const unsigned m = a.m << odd;
  // floor(sqrt(m * 2**18)), below 2**18: the estimate is off by one at most.
  unsigned r = static_cast<unsigned>(rough_root(static_cast<float>(m)) * 512.0f);
  s64 rest = static_cast<s64>((static_cast<u64>(m) << 18) - static_cast<u64>(r) * r);
  if (rest < 0) {
    r--;
    rest += 2 * static_cast<s64>(r) + 1;
  }
  if (rest > 2 * static_cast<s64>(r)) {
    rest -= 2 * static_cast<s64>(r) + 1;
    r++;
  }
  const unsigned v = 2 * r + (rest != 0);
  return narrow(v, 2 + static_cast<int>(v >> 18), (a.e - odd) / 2 - 10);
}

__device__ __forceinline__ Small add(Small a, Small b) {
  const bool swap = b.m == 0 || (a.m != 0 && a.e > b.e);
  const Small low = swap ? b : a, high = swap ? a : b;
  const int apart = high.e - low.e;
  if (low.m == 0 || apart >= 17) return high;
  // Their sum is `whole` and, below it, `apart` bits.
  const unsigned whole = high.m + (low.m >> apart), rest = low.m & ((1u << apart) - 1);
  if (whole >> 16 == 0) {
    const unsigned m = whole + (2 * rest + (whole & 1) > 1u << apart), carry = m >> 16;
    return limit(m >> carry, high.e + static_cast<int>(carry));
  }
  const unsigned half = 1u << apart, below = (whole & 1) << apart | rest, m = whole >> 1;
  const unsigned up = m + (below + (m & 1) > half), carry = up >> 16;
  return limit(up >> carry, high.e + 1 + static_cast<int>(carry));
}

// a * 2**by.
__device__ __forceinline__ Small shift(Small a, int by) {
  return a.m ? limit(a.m, a.e + by) : a;
}

// The 24-bit word of docs/numerics.md.
__device__ __forceinline__ unsigned to_bits(Small a) {
  return (static_cast<unsigned>(a.e) & 0xFF) << 16 | a.m;
}
__device__ __forceinline__ Small from_bits(unsigned word) {
  return {word & 0xFFFF, static_cast<int>(word >> 16 & 0xFF ^ 0x80) - 0x80};
}

// sat_bits(RNE(y * s * 2**by)), |y| <= 2**37, bits <= 24: the elementwise unit.
__device__ __forceinline__ int scale_int(s64 y, Small s, int by, int bits) {
  const double v = double_of(y) * double_of(s, by), peak = static_cast<double>(1 << (bits - 1));
  return nearest_int(v < -peak ? -peak : v > peak - 1 ? peak - 1 : v);
}
