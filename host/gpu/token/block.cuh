// SPDX-License-Identifier: Apache-2.0
// What the threads of a block, and the blocks of a cluster, do together.
//
// Every kernel calls follow() before it reads what an earlier one wrote: it lets the next launch
// begin, whose blocks then wait, and waits for the one ahead to end.
//
// RANKS blocks form a cluster.  They hand results on by writing to one another's shared memory,
// STATE, ahead of a barrier; nobody reads another's, so a block may end once it has no more to
// read.
#pragma once
#include "formats.cuh"

#ifdef __CUDACC__
#ifndef RESIDENT
#define RESIDENT 1
#endif
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
#define STATE(Type, name) \
  __shared__ Type name##_memory; \
  Type& name = name##_memory

__device__ __forceinline__ void follow() {
  asm volatile("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;" ::: "memory");
}

// What another launch wrote: the first cache is not coherent, so the second is read.
template <class T>
__device__ __forceinline__ T fresh(const T* at) {
  return __ldcg(at);
}

// Four neighbours at a multiple of their size.
template <class T>
__device__ __forceinline__ void fresh4(T (&out)[4], const T* at) {
  constexpr int pieces = sizeof(T) / 2;  // of eight bytes
  union {
    uint2 words[pieces];
    T values[4];
  } u;
  if constexpr (pieces == 1) {
    u.words[0] = __ldcg(reinterpret_cast<const uint2*>(at));
  } else {
#pragma unroll
    for (int i = 0; i < pieces; i += 2) {
      const uint4 v = __ldcg(reinterpret_cast<const uint4*>(at) + i / 2);
      u.words[i] = make_uint2(v.x, v.y);
      u.words[i + 1] = make_uint2(v.z, v.w);
    }
  }
#pragma unroll
  for (int k = 0; k < 4; k++) out[k] = u.values[k];
}

// Of the first so many threads of a block, whole warps.
template <int COUNT>
__device__ __forceinline__ void barrier_of() {
  asm volatile("bar.sync 1, %0;" ::"n"(COUNT) : "memory");
}

__device__ __forceinline__ void cluster_barrier() {
  if constexpr (RANKS == 1) {
    __syncthreads();
  } else {
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
}

// The same place in another block's STATE.
template <class T>
__device__ __forceinline__ T* peer(T* own, int rank) {
  if constexpr (RANKS == 1) return own;
  u64 there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(own), "r"(rank));
  return reinterpret_cast<T*>(there);
}

// acc + four unsigned bytes times four signed, and times four unsigned ones.
__device__ __forceinline__ int dot_signed(unsigned u, unsigned q, int acc) {
  asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(acc) : "r"(u), "r"(q));
  return acc;
}
__device__ __forceinline__ unsigned dot_unsigned(unsigned u, unsigned c, unsigned acc) {
  asm("dp4a.u32.u32 %0, %1, %2, %0;" : "+r"(acc) : "r"(u), "r"(c));
  return acc;
}
#endif

constexpr unsigned ALL = 0xFFFFFFFFu;
constexpr int WARPS = THREADS / 32;
constexpr int PARTIALS = RANKS * WARPS;  // warps of a cluster
static_assert(THREADS % 32 == 0 && RANKS <= 8, "whole warps, a portable cluster");

// Sum over a warp of values whose sum is below 2**BITS, in pieces whose sums fit 32 bits.
template <int BITS>
__device__ __forceinline__ u64 warp_sum(u64 v) {
  constexpr unsigned piece = (1u << 27) - 1;
  u64 sum = __reduce_add_sync(ALL, static_cast<unsigned>(v) & piece);
  sum += static_cast<u64>(__reduce_add_sync(ALL, static_cast<unsigned>(v >> 27) & piece)) << 27;
  if (BITS > 54) {
    const unsigned rest = static_cast<unsigned>(v >> 54);
    sum += static_cast<u64>(__reduce_add_sync(ALL, rest)) << 54;
  }
  return sum;
}

// Largest over a warp of values below 2**62.
__device__ __forceinline__ u64 warp_max(u64 v) {
  const unsigned high = __reduce_max_sync(ALL, static_cast<unsigned>(v >> 31));
  const unsigned low = static_cast<unsigned>(v) & 0x7FFFFFFF;
  const unsigned below = __reduce_max_sync(ALL, static_cast<unsigned>(v >> 31) == high ? low : 0);
  return static_cast<u64>(high) << 31 | below;
}

// Hand a warp's value to every block of the cluster; a cluster_barrier() follows.
template <class T>
__device__ __forceinline__ void share(T (&partials)[PARTIALS], int rank, T v) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane < RANKS) *peer(&partials[rank * WARPS + warp], lane) = v;
}

// Reductions of what was shared, by every warp that asks.
template <int BITS>
__device__ __forceinline__ u64 sum_of(const u64 (&partials)[PARTIALS]) {
  u64 sum = 0;
#pragma unroll
  for (int k = 0; k < PARTIALS; k += 32)
    if (k + threadIdx.x % 32 < PARTIALS) sum += partials[k + threadIdx.x % 32];
  return warp_sum<BITS>(sum);
}

__device__ __forceinline__ u64 largest_of(const u64 (&partials)[PARTIALS]) {
  u64 largest = 0;
#pragma unroll
  for (int k = 0; k < PARTIALS; k += 32) {
    const u64 other = k + threadIdx.x % 32 < PARTIALS ? partials[k + threadIdx.x % 32] : 0;
    largest = other > largest ? other : largest;
  }
  return warp_max(largest);
}

__device__ __forceinline__ int sum_of(const int (&partials)[PARTIALS]) {
  int sum = 0;
#pragma unroll
  for (int k = 0; k < PARTIALS; k += 32)
    if (k + threadIdx.x % 32 < PARTIALS) sum += partials[k + threadIdx.x % 32];
  return __reduce_add_sync(ALL, sum);
}

__device__ __forceinline__ int largest_of(const int (&partials)[PARTIALS]) {
  int largest = partials[0];
#pragma unroll
  for (int k = 0; k < PARTIALS; k += 32) {
    const int other = k + threadIdx.x % 32 < PARTIALS ? partials[k + threadIdx.x % 32] : largest;
    largest = other > largest ? other : largest;
  }
  return __reduce_max_sync(ALL, largest);
}
