// SPDX-License-Identifier: Apache-2.0
// The end of a token: its scale, the largest of VOCAB logits (the lowest index among equals), and
// the place of the next token.
constexpr int RANKS = 1;
#include "block.cuh"

// A logit and its index as one number, larger for a larger logit or a lower index.
__device__ __forceinline__ u64 key_of(int logit, int index) {
  return static_cast<u64>(static_cast<unsigned>(logit) ^ 1u << 31) << 32 |
         (ALL - static_cast<unsigned>(index));
}

struct Largest {
  u64 parts[WARPS];
};

// `best` and `arrived` are zero ahead of it and behind it.  The token goes to `chosen`; it is also
// what follows, where `given` tokens reach no further.
KERNEL choose(const int* logits, const unsigned* in_scale, unsigned alpha, u64* best,
              unsigned* arrived, int* chosen, unsigned* logit_scale, int* tokens, int* position,
              const int* given) {
  STATE(Largest, state);
  follow();
  u64 own = 0;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < VOCAB; i += BLOCKS * THREADS) {
    const u64 key = key_of(fresh(logits + i), i);
    own = key > own ? key : own;
  }
  for (int apart = 16; apart > 0; apart /= 2) {
    const u64 other = __shfl_xor_sync(ALL, own, apart);
    own = other > own ? other : own;
  }
  if (threadIdx.x % 32 == 0) state.parts[threadIdx.x / 32] = own;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < WARPS; i++) own = state.parts[i] > own ? state.parts[i] : own;
  atomicMax(best, own);
  __threadfence();
  if (atomicAdd(arrived, 1u) < BLOCKS - 1) return;
  __threadfence();
  const int token = static_cast<int>(ALL - static_cast<unsigned>(atomicMax(best, 0ull)));
  *chosen = token;
  *logit_scale = to_bits(mul(from_bits(fresh(in_scale)), from_bits(alpha)));
  const int next = fresh(position) + 1;
  if (next >= fresh(given)) tokens[next] = token;
  *position = next;
  *best = 0;
  *arrived = 0;
}

// The end of a token whose logits nobody wants.
KERNEL pass_over(int* position) {
  follow();
  if (threadIdx.x == 0) *position = fresh(position) + 1;
}
