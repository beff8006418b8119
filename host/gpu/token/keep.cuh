// SPDX-License-Identifier: Apache-2.0
// Which codes of a vector stay, where each warp of a block holds some of them: those of the KEEP
// largest magnitudes, the lowest index first among equal ones.  Included by fused_product.cu.
//
// Magnitudes are at most 127.  They are counted in shared memory; a second pass ranks those that are
// equal to the smallest that stays.
#pragma once

constexpr int KEYS = 128;

struct Kept {
  alignas(16) unsigned histogram[KEYS];  // magnitude 127 first
  int equals[DEPTH];                     // of each chunk
};

__device__ __forceinline__ unsigned key_in(unsigned codes, int k) {
  const int code = static_cast<signed char>(codes >> 8 * k);
  return code < 0 ? -code : code;
}

__device__ __forceinline__ void clear(Kept& kept) {
  for (int i = threadIdx.x; i < KEYS; i += THREADS) kept.histogram[i] = 0;
}

// Zero all but the largest; by the workers.
__device__ __forceinline__ void keep_largest(Kept& kept, unsigned (&codes)[SHARE][2]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int k = 0; k < RUN; k++)
        atomicAdd(&kept.histogram[KEYS - 1 - key_in(codes[s][h], k)], 1u);
  worker_barrier();
  // How many have at least the key of this thread's four bins; then the last bin that is reached.
  unsigned bin[4], own = 0;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    bin[k] = kept.histogram[4 * lane + k];
    own += bin[k];
  }
  int until = static_cast<int>(own);
#pragma unroll
  for (int apart = 1; apart < 32; apart *= 2) {
    const int other = __shfl_up_sync(ALL, until, apart);
    if (lane >= apart) until += other;
  }
  int above = until - static_cast<int>(own);  // elements of larger keys
  unsigned found = 0;
  if (above < KEEP && until >= KEEP) {
    int last = KEYS - 1 - 4 * lane;
#pragma unroll
    for (int k = 0; k < 3; k++) {
      const int next = above + static_cast<int>(bin[k]);
      if (next < KEEP && last == KEYS - 1 - 4 * lane - k) {
        above = next;
        last--;
      }
    }
    found = static_cast<unsigned>(last) << 16 | static_cast<unsigned>(above);
  }
  found = __reduce_max_sync(ALL, found);
  const unsigned least = found >> 16, earlier = (1u << lane) - 1;
  above = found & 0xFFFF;
  int place[SHARE][2][RUN];
#pragma unroll
  for (int s = 0; s < SHARE; s++) {
    int count = 0;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      int ahead = count;
      bool equal[RUN];
#pragma unroll
      for (int k = 0; k < RUN; k++) {
        equal[k] = key_in(codes[s][h], k) == least;
        const unsigned all = __ballot_sync(ALL, equal[k]);
        ahead += __popc(all & earlier);
        count += __popc(all);
      }
#pragma unroll
      for (int k = 0; k < RUN; k++) {
        place[s][h][k] = ahead;
        ahead += equal[k];
      }
    }
    if (lane == 0 && s * SPLIT + warp < DEPTH) kept.equals[s * SPLIT + warp] = count;
  }
  worker_barrier();
#pragma unroll
  for (int s = 0; s < SHARE; s++) {
    int before = 0;
#pragma unroll
    for (int from = 0; from < DEPTH; from += 32) {
      const int chunk = from + lane;
      before += __reduce_add_sync(
          ALL, chunk < DEPTH && chunk < s * SPLIT + warp ? kept.equals[chunk] : 0);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      unsigned stay = 0;
#pragma unroll
      for (int k = 0; k < RUN; k++) {
        const unsigned key = key_in(codes[s][h], k);
        if (key > least || (key == least && above + before + place[s][h][k] < KEEP))
          stay |= 255u << 8 * k;
      }
      codes[s][h] &= stay;
    }
  }
}
