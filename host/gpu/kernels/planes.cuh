// SPDX-License-Identifier: Apache-2.0
// Products of bit planes on the tensor cores: m16 n8 k256, one bit by one bit, counts in int32.
//
// Weights are two planes, P (bit set where w = +1) and M (where w = -1).  Activation codes, bytes,
// are split into their eight planes, which are the eight columns of the second operand, so
//     y = sum over n of c(n) * (P x plane_n - M x plane_n),   c = 1, 2, 4, .., 64, -128.
// No weight is ever unpacked.  All sums are integers and exact.
#pragma once

constexpr int CHUNK = 256;  // columns of the matrix that one product takes

// Four words that no kernel writes; they pass the first cache by.  WIDE asks the second cache for
// whole lines, which pays where memory is the limit.
template <bool WIDE = false>
__device__ __forceinline__ uint4 load_constant(const uint4* at) {
  uint4 v;
  if constexpr (WIDE)
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
  else
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
  return v;
}

__device__ __forceinline__ uint2 load_constant(const uint2* at) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y) : "l"(at));
  return v;
}

// Sixteen bytes that the launch ahead wrote.  The first cache is not coherent with other
// multiprocessors and is shared by overlapping launches: read the second.
__device__ __forceinline__ uint4 load_fresh(const void* at) {
  uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at) : "memory");
  return v;
}

__device__ __forceinline__ int load_fresh(const int* at) {
  int v;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
  return v;
}

// Programmatic dependent launch: let the next launch begin; wait for the one ahead to end.
__device__ __forceinline__ void launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
__device__ __forceinline__ void wait_for_previous() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// sum += a x b.  A thread's rows are lane / 4 and that + 8, its columns 2 (lane % 4) and that + 1.
__device__ __forceinline__ void multiply(int (&sum)[4], unsigned a0, unsigned a1, unsigned a2,
                                         unsigned a3, uint2 b) {
  asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b.x), "r"(b.y));
}

// sum += a x b for bytes, m16 n8 k32: a unsigned, b signed; the sums lie as above.
__device__ __forceinline__ void multiply_bytes(int (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                               unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Bit `plane` of 32 bytes as one word: bit 8 b + i is that of byte 4 i + b.
__device__ __forceinline__ unsigned gather_plane(uint4 low, uint4 high, int plane) {
  const unsigned words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  unsigned out = 0;
#pragma unroll
  for (int i = 0; i < 8; i++)  // turn each byte's bit to place i; what comes from elsewhere is cut
    out |= __funnelshift_r(words[i], words[i], plane - i) & (0x01010101u << i);
  return out;
}

// Second operand for one chunk of codes; lane / 4 is the plane, lane % 4 the place in the chunk.
__device__ __forceinline__ uint2 gather_planes(const uint4 (&codes)[4], int lane) {
  return make_uint2(gather_plane(codes[0], codes[1], lane >> 2),
                    gather_plane(codes[2], codes[3], lane >> 2));
}

// The 64 codes of a chunk that a thread needs.
__device__ __forceinline__ void load_codes(uint4 (&codes)[4], const signed char* chunk, int lane) {
  const signed char* at = chunk + 32 * (lane & 3);
  codes[0] = load_fresh(at);
  codes[1] = load_fresh(at + 16);
  codes[2] = load_fresh(at + 128);
  codes[3] = load_fresh(at + 144);
}

// What a thread's two columns add to its two rows: the planes' weights.
__device__ __forceinline__ int2 weigh(const int (&counts)[4], int lane) {
  const int q = lane & 3, even = 1 << 2 * q, odd = q == 3 ? -128 : 2 << 2 * q;
  return make_int2(counts[0] * even + counts[1] * odd, counts[2] * even + counts[3] * odd);
}
