// SPDX-License-Identifier: Apache-2.0
// Which codes of a vector stay, and a list of those that are not zero.  Included by norm.cu.
#pragma once

constexpr int KEY_BITS = BY_VALUE ? 36 : 8;

// Elements that are marked and come before each marked one of this thread: [PER], and their number.
struct Places {
  int place[PER];
  int total;
};

__device__ __forceinline__ Places places_of(const bool (&marked)[PER]) {
  SHARED int counts[PER * WARPS];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  unsigned votes[PER];
  __syncthreads();  // an earlier use may not have ended
#pragma unroll
  for (int i = 0; i < PER; i++) {
    votes[i] = __ballot_sync(ALL, marked[i]);
    if (lane == 0) counts[i * WARPS + warp] = __popc(votes[i]);
  }
  __syncthreads();
  Places out;
  out.total = 0;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int ahead = 0;
    for (int k = lane; k < i * WARPS + warp; k += 32) ahead += counts[k];
    out.place[i] = __reduce_add_sync(ALL, ahead) + __popc(votes[i] & ((1u << lane) - 1));
  }
  for (int k = lane; k < PER * WARPS; k += 32) out.total += counts[k];
  out.total = __reduce_add_sync(ALL, out.total);
  return out;
}

// Elements of the whole vector whose key is at least `least`.
__device__ __forceinline__ int count_from(const u64 (&key)[PER], u64 least, int round) {
  SHARED IntParts parts[2];  // taken in turn, so that one barrier is enough
  int own = 0;
#pragma unroll
  for (int i = 0; i < PER; i++)
    own += i * THREADS + static_cast<int>(threadIdx.x) < N && key[i] >= least;
  parts[round & 1].put(__reduce_add_sync(ALL, own));
  __syncthreads();
  return parts[round & 1].sum();
}

// Zero all codes but those of the largest keys; among equal keys the lowest index stays.
__device__ __forceinline__ void keep_largest(int (&code)[PER], const s64 (&y)[PER]) {
  u64 key[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const s64 v = BY_VALUE ? y[i] : code[i];
    key[i] = v < 0 ? -v : v;
  }
  if constexpr (BLOCK >= N) {
    u64 threshold = 0;  // the largest that KEEP elements reach
    for (int bit = KEY_BITS - 1; bit >= 0; bit--) {
      const u64 next = threshold | 1ull << bit;
      if (count_from(key, next, bit) >= KEEP) threshold = next;
    }
    const int above = count_from(key, threshold + 1, 1);
    bool equal[PER];
#pragma unroll
    for (int i = 0; i < PER; i++)
      equal[i] = i * THREADS + static_cast<int>(threadIdx.x) < N && key[i] == threshold;
    const Places places = places_of(equal);
#pragma unroll
    for (int i = 0; i < PER; i++)
      if (key[i] < threshold || (equal[i] && above + places.place[i] >= KEEP)) code[i] = 0;
  } else {
    SHARED u64 keys[N];
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = i * THREADS + threadIdx.x;
      if (at < N) keys[at] = key[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < PER; i++) {
      const int at = i * THREADS + threadIdx.x, from = at / BLOCK * BLOCK;
      const int end = from + BLOCK < N ? from + BLOCK : N, keep = end - from == BLOCK ? KEEP : LAST;
      int ahead = 0;
      for (int k = from; k < end; k++) ahead += keys[k] > key[i] || (keys[k] == key[i] && k < at);
      if (ahead >= keep) code[i] = 0;
    }
  }
}

__device__ __forceinline__ void list_codes(const int (&code)[PER], unsigned* entries, int* count) {
  bool marked[PER];
#pragma unroll
  for (int i = 0; i < PER; i++)
    marked[i] = i * THREADS + static_cast<int>(threadIdx.x) < N && code[i] != 0;
  const Places places = places_of(marked);
#pragma unroll
  for (int i = 0; i < PER; i++)
    if (marked[i])
      entries[places.place[i]] = static_cast<unsigned>(code[i]) << 24 | (i * THREADS + threadIdx.x);
  if (threadIdx.x == 0) *count = places.total;
}
