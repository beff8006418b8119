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

// v / 2**places to nearest, ties to even; places 0..63.
__device__ __forceinline__ u64 rne(u64 v, int places) {
  const u64 low = v & ((1ull << places) - 1), half = (1ull << places) >> 1, floor = v >> places;
  return floor + (low > half || (low == half && places > 0 && (floor & 1)));
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

__device__ __forceinline__ Small normalise(u64 v, int e) {
  if (v == 0) return {0, 0};
  const int drop = bit_length(v) - 16;
  u64 m = drop > 0 ? rne(v, drop) : v << -drop;
  e += drop;
  if (m == 1 << 16) {  // the carry of rounding
    m = 1 << 15;
    e++;
  }
  return limit(static_cast<unsigned>(m), e);
}

__device__ __forceinline__ Small from_int(u64 n) { return normalise(n, 0); }

__device__ __forceinline__ Small mul(Small a, Small b) {
  return normalise(static_cast<u64>(a.m) * b.m, a.e + b.e);
}

__device__ __forceinline__ Small div(Small a, Small b) {
  if (b.m == 0) return a.m ? Small{65535, 127} : Small{0, 0};
  const unsigned wide = a.m << 16, q = wide / b.m, rest = wide - q * b.m;
  const unsigned more = 2 * rest >= b.m;  // the next bit, then whether anything is left
  return normalise(2 * (2 * static_cast<u64>(q) + more) + (2 * rest != more * b.m),
                   a.e - b.e - 18);
}

// floor(sqrt(v)), v < 2**36.  The estimate is a float; integers decide.
__device__ __forceinline__ u64 root_of(u64 v) {
  u64 r = static_cast<u64>(sqrtf(static_cast<float>(v)));
  while (r * r > v) r--;
  while ((r + 1) * (r + 1) <= v) r++;
  return r;
}

__device__ __forceinline__ Small sqrt(Small a) {
  const int odd = a.e & 1;
  const u64 v = static_cast<u64>(a.m << odd) << 18, r = root_of(v);
  return normalise(2 * r + (r * r < v), (a.e - odd) / 2 - 10);
}

__device__ __forceinline__ Small add(Small a, Small b) {
  const bool swap = b.m == 0 || (a.m != 0 && a.e > b.e);
  const Small low = swap ? b : a, high = swap ? a : b;
  const int apart = high.e - low.e;
  if (low.m == 0 || apart >= 17) return high;
  return normalise((static_cast<u64>(high.m) << apart) + low.m, low.e);
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
  const s64 product = y * s.m;
  const int left = s.e + by;
  if (left <= 0) return static_cast<int>(saturate(round_shift(product, -left), bits));
  // A product that is not zero is at least 2**15.
  const s64 bound = 1ll << 24, near = product > bound ? bound : product < -bound ? -bound : product;
  return static_cast<int>(saturate(near << (left < 24 ? left : 24), bits));
}
