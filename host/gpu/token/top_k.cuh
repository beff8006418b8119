// SPDX-License-Identifier: Apache-2.0
// Which codes of a vector stay, and a list of those that are not zero, by one block that has all of
// them.  Included by norm.cu.
#pragma once

constexpr bool GATHERED = KEEP >= 0 || LIST;
constexpr int KEY_BITS = BY_VALUE ? 36 : 8;
constexpr int RUN = (N + 4 * THREADS - 1) / (4 * THREADS) * 4;  // neighbours of one thread

struct Chosen {
  alignas(16) signed char codes[GATHERED ? RUN * THREADS : 4];
  u64 keys[BY_VALUE ? N : 1];
  unsigned counts[2][2][WARPS];
  int totals[2][WARPS];
};

__device__ __forceinline__ u64 key_at(const Chosen& chosen, int at) {
  if (BY_VALUE) return chosen.keys[at];
  const int code = chosen.codes[at];
  return code < 0 ? -code : code;
}

// How many marked elements earlier threads have; with all of them in `total`.
__device__ __forceinline__ int ahead_of(int own, int (&totals)[WARPS], int& total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int until = own;
#pragma unroll
  for (int apart = 1; apart < 32; apart *= 2) {
    const int other = __shfl_up_sync(ALL, until, apart);
    if (lane >= apart) until += other;
  }
  if (lane == 31) totals[warp] = until;
  __syncthreads();
  const int of_lane = lane < WARPS ? totals[lane] : 0;
  total = __reduce_add_sync(ALL, of_lane);
  return until - own + __reduce_add_sync(ALL, lane < warp ? of_lane : 0);
}

// Keys of a thread, and how many are at least a threshold.  Values: one by one.
struct ValueKeys {
  u64 key[RUN];
  __device__ __forceinline__ explicit ValueKeys(const Chosen& chosen) {
#pragma unroll
    for (int i = 0; i < RUN; i++)
      key[i] = threadIdx.x * RUN + i < N ? chosen.keys[threadIdx.x * RUN + i] : 0;
  }
  __device__ __forceinline__ bool reaches(int i, u64 threshold) const {
    return threadIdx.x * RUN + i < N && key[i] >= threshold;
  }
  __device__ __forceinline__ int count(u64 threshold) const {
    int out = 0;
#pragma unroll
    for (int i = 0; i < RUN; i++) out += reaches(i, threshold);
    return out;
  }
};

// Magnitudes of codes, at most 127: four in a word, compared by one subtraction that no byte's
// borrow leaves.
struct CodeKeys {
  unsigned raised[RUN / 4], inside[RUN / 4];  // keys plus 128; 1 for each that there is
  __device__ __forceinline__ explicit CodeKeys(const Chosen& chosen) {
    const unsigned* words = reinterpret_cast<const unsigned*>(chosen.codes) + threadIdx.x * RUN / 4;
#pragma unroll
    for (int i = 0; i < RUN / 4; i++) {
      const int left = N - static_cast<int>(threadIdx.x) * RUN - 4 * i;
      inside[i] = left >= 4 ? 0x01010101u : left <= 0 ? 0 : 0x01010101u >> 8 * (4 - left);
      const unsigned word = words[i], negative = word >> 7 & 0x01010101u;
      raised[i] = ((word ^ negative * 255u) + negative) | 0x80808080u;
    }
  }
  __device__ __forceinline__ unsigned marks(int i, u64 threshold) const {
    return (raised[i] - static_cast<unsigned>(threshold) * 0x01010101u) >> 7 & inside[i];
  }
  __device__ __forceinline__ bool reaches(int i, u64 threshold) const {
    return marks(i / 4, threshold) >> i % 4 * 8 & 1;
  }
  __device__ __forceinline__ int count(u64 threshold) const {
    unsigned out = 0;
#pragma unroll
    for (int i = 0; i < RUN / 4; i++) out = dot_unsigned(marks(i, threshold), 0x01010101u, out);
    return static_cast<int>(out);
  }
};

// Zero all codes but those of the KEEP largest keys; among equal keys the lowest index stays.
template <class Keys>
__device__ __forceinline__ void keep_largest(Chosen& chosen, int (&code)[RUN]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Keys keys(chosen);
  u64 threshold = 0;  // the largest that KEEP elements reach
  int above = 0;      // elements beyond it
#pragma unroll 1
  for (int bit = KEY_BITS - 2; bit >= 0; bit -= 2) {
    // The three next thresholds; a code's key has no eighth bit.
    const bool top = !BY_VALUE && bit == KEY_BITS - 2;
    unsigned low = static_cast<unsigned>(keys.count(threshold | 1ull << bit));
    low |= top ? 0 : static_cast<unsigned>(keys.count(threshold | 2ull << bit)) << 16;
    const unsigned high = top ? 0 : static_cast<unsigned>(keys.count(threshold | 3ull << bit));
    auto& counts = chosen.counts[bit / 2 % 2];  // taken in turn: one barrier is enough
    const unsigned warp_low = __reduce_add_sync(ALL, low), warp_high = __reduce_add_sync(ALL, high);
    if (lane == 0) {
      counts[0][warp] = warp_low;
      counts[1][warp] = warp_high;
    }
    __syncthreads();
    const unsigned all_low = lane < WARPS ? counts[0][lane] : 0;
    const unsigned all_high = lane < WARPS ? counts[1][lane] : 0;
    const int from[3] = {static_cast<int>(__reduce_add_sync(ALL, all_low & 0xFFFF)),
                         static_cast<int>(__reduce_add_sync(ALL, all_low >> 16)),
                         static_cast<int>(__reduce_add_sync(ALL, all_high))};
    const int digit = (from[0] >= KEEP) + (!top && from[1] >= KEEP) + (!top && from[2] >= KEEP);
    threshold |= static_cast<u64>(digit) << bit;
    if (digit < 3 && !(top && digit == 1))
      above = digit == 0 ? from[0] : digit == 1 ? from[1] : from[2];
  }
  int total;
  const int equal = keys.count(threshold) - keys.count(threshold + 1);
  int place = above + ahead_of(equal, chosen.totals[0], total);
#pragma unroll
  for (int i = 0; i < RUN; i++) {
    const bool beyond = keys.reaches(i, threshold + 1), reached = keys.reaches(i, threshold);
    if (!beyond && (!reached || place >= KEEP)) code[i] = 0;
    place += reached && !beyond;
  }
}

// The same within every BLOCK neighbours.
__device__ __forceinline__ void keep_largest_of_blocks(const Chosen& chosen, int (&code)[RUN]) {
#pragma unroll
  for (int i = 0; i < RUN; i++) {
    const int at = threadIdx.x * RUN + i, from = at / BLOCK * BLOCK;
    const int end = from + BLOCK < N ? from + BLOCK : N, keep = end - from == BLOCK ? KEEP : LAST;
    int ahead = 0;
    for (int k = from; at < N && k < end; k++)
      ahead += key_at(chosen, k) > key_at(chosen, at) ||
               (key_at(chosen, k) == key_at(chosen, at) && k < at);
    if (ahead >= keep) code[i] = 0;
  }
}

__device__ __forceinline__ void choose(Chosen& chosen, signed char* codes, unsigned* entries,
                                       int* count) {
  const int first = threadIdx.x * RUN;
  int code[RUN];
#pragma unroll
  for (int i = 0; i < RUN; i++) code[i] = first + i < N ? chosen.codes[first + i] : 0;
  if constexpr (KEEP >= 0 && BLOCK < N) keep_largest_of_blocks(chosen, code);
  if constexpr (KEEP >= 0 && BLOCK >= N) {
    if constexpr (BY_VALUE) keep_largest<ValueKeys>(chosen, code);
    if constexpr (!BY_VALUE) keep_largest<CodeKeys>(chosen, code);
  }
#pragma unroll
  for (int i = 0; i < RUN; i += 4)
    if (first + i + 3 < N) {
      unsigned word = 0;
#pragma unroll
      for (int k = 0; k < 4; k++) word |= (code[i + k] & 255u) << 8 * k;
      *reinterpret_cast<unsigned*>(codes + first + i) = word;
    } else {
#pragma unroll
      for (int k = 0; k < 4; k++)
        if (first + i + k < N) codes[first + i + k] = static_cast<signed char>(code[i + k]);
    }
  if constexpr (LIST) {
    int own = 0, total;
#pragma unroll
    for (int i = 0; i < RUN; i++) own += code[i] != 0;
    int place = ahead_of(own, chosen.totals[1], total);
#pragma unroll
    for (int i = 0; i < RUN; i++)
      if (code[i] != 0) entries[place++] = static_cast<unsigned>(code[i]) << 24 | (first + i);
    if (threadIdx.x == 0) *count = total;
  }
}
