// SPDX-License-Identifier: Apache-2.0
// What a block's threads do together, and how one launch follows another.
//
// Every kernel calls follow() before it reads what an earlier one wrote: it lets the next launch
// begin, whose blocks then wait, and waits for the one ahead to end.
#pragma once
#ifdef __CUDACC__
#define SHARED __shared__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)

__device__ __forceinline__ void follow() {
  asm volatile("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;" ::: "memory");
}

// What another launch wrote: the first cache is not coherent, so the second is read.
template <class T>
__device__ __forceinline__ T fresh(const T* at) {
  return __ldcg(at);
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
#include "formats.cuh"

constexpr unsigned ALL = 0xFFFFFFFFu;
constexpr int WARPS = (THREADS + 31) / 32;

// Sum over a warp of values below 2**63, in pieces whose sums fit 32 bits.
__device__ __forceinline__ u64 warp_sum(u64 v) {
  constexpr unsigned piece = (1u << 27) - 1;
  const u64 low = __reduce_add_sync(ALL, static_cast<unsigned>(v) & piece);
  const u64 middle = __reduce_add_sync(ALL, static_cast<unsigned>(v >> 27) & piece);
  const u64 high = __reduce_add_sync(ALL, static_cast<unsigned>(v >> 54));
  return low + (middle << 27) + (high << 54);
}

// Largest over a warp of values below 2**62.
__device__ __forceinline__ u64 warp_max(u64 v) {
  const unsigned high = __reduce_max_sync(ALL, static_cast<unsigned>(v >> 31));
  const unsigned low = static_cast<unsigned>(v) & 0x7FFFFFFF;
  const unsigned below = __reduce_max_sync(ALL, static_cast<unsigned>(v >> 31) == high ? low : 0);
  return static_cast<u64>(high) << 31 | below;
}

// A block's reduction: put() a warp's part, __syncthreads(), get() in every whole warp.
struct Parts {
  u64 of[32];
  __device__ __forceinline__ void put(u64 v) {
    if (threadIdx.x % 32 == 0) of[threadIdx.x / 32] = v;
  }
  __device__ __forceinline__ u64 lane() const {
    return threadIdx.x % 32 < WARPS ? of[threadIdx.x % 32] : 0;
  }
  __device__ __forceinline__ u64 sum() const { return warp_sum(lane()); }
  __device__ __forceinline__ u64 largest() const { return warp_max(lane()); }
};

struct IntParts {
  int of[32];
  __device__ __forceinline__ void put(int v) {
    if (threadIdx.x % 32 == 0) of[threadIdx.x / 32] = v;
  }
  __device__ __forceinline__ int sum() const {
    return __reduce_add_sync(ALL, threadIdx.x % 32 < WARPS ? of[threadIdx.x % 32] : 0);
  }
  __device__ __forceinline__ int largest() const {
    return __reduce_max_sync(ALL, of[threadIdx.x % 32 < WARPS ? threadIdx.x % 32 : 0]);
  }
};
