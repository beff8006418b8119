// SPDX-License-Identifier: Apache-2.0
// One vector of N words through RMSNorm and a quantiser: docs/numerics.md, sections 3, 4, 9 and 10.
//
// SOURCE says where the words come from, and what is done on the way:
//   EMBED  the embedding's row of the token at `position`; kept in `residual`
//   ADD    residual + sums * scale, saturated; kept in `residual`
//   JOIN   HEADS outputs of attention with a scale each, brought to one exponent
//   GLU    relu(gate)**2 * up of sums [2 N]
// FORMAT: INT4, INT8 or FP4.  With KEEP >= 0 only that many codes of the largest key stay, the
// others are zero: of every BLOCK, and LAST of what remains behind the last whole one.  With LIST
// the codes that are not zero also go to `entries`, index in bits 23:0, value above, and their
// number to `count`.
//
// One cluster.  Scales are 24-bit words.  No element of `codes` behind N is written.
#include "block.cuh"

constexpr int EMBED = 0, ADD = 1, JOIN = 2, GLU = 3;
constexpr int PER = (N + RANKS * THREADS - 1) / (RANKS * THREADS);  // elements of a thread
constexpr bool MEAN = FORMAT == INT4;

struct Norm {
  u64 squares[PARTIALS], statistics[PARTIALS];
  int gates[PARTIALS];
};

#include "top_k.cuh"
#include "words.cuh"

KERNEL fused_norm(const void* source, int* residual, const unsigned* in_scale, unsigned alpha,
                  unsigned beta, const short* gains, unsigned gain_scale, unsigned eps,
                  unsigned levels, signed char* codes, unsigned* out_scale, const int* tokens,
                  const int* position, unsigned* entries, int* count) {
  STATE(Norm, state);
  STATE(Chosen, chosen);
  const int rank = blockIdx.x;
  int gain[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) gain[i] = index_of(i, rank) < N ? gains[index_of(i, rank)] : 0;
  cluster_barrier();  // all blocks are there to be written to
  follow();
  const Words in =
      words_of(state, rank, source, residual, in_scale, alpha, beta, tokens, position);

  u64 square_sum = 0, statistic = 0;
  s64 y[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    square_sum += static_cast<u64>(static_cast<s64>(in.word[i]) * in.word[i]);
    y[i] = static_cast<s64>(in.word[i]) * gain[i];
    const u64 magnitude = y[i] < 0 ? -y[i] : y[i];
    statistic = MEAN ? statistic + magnitude : magnitude > statistic ? magnitude : statistic;
  }
  share(state.squares, rank, warp_sum<PER <= 8 ? 54 : 63>(square_sum));
  share(state.statistics, rank, MEAN ? warp_sum<54>(statistic) : warp_max(statistic));
  cluster_barrier();
  statistic = MEAN ? sum_of<54>(state.statistics) : largest_of(state.statistics);
  const Small ratio = div(from_bits(levels), from_int(statistic));
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const int at = index_of(i, rank), code = activation_code(y[i], ratio, FORMAT);
    if (at < N) {
      if (GATHERED) {
        *peer(&chosen.codes[at], 0) = static_cast<signed char>(code);
        if (BY_VALUE) *peer(&chosen.keys[at], 0) = y[i] < 0 ? -y[i] : y[i];
      } else {
        codes[at] = static_cast<signed char>(code);
      }
    }
  }
  if (rank == 0 && threadIdx.x >= THREADS - 32) {
    square_sum = sum_of<63>(state.squares);
    if (threadIdx.x == THREADS - 1)
      *out_scale = to_bits(norm_scale(square_sum, statistic, in.scale, from_bits(gain_scale),
                                      from_bits(eps), from_bits(levels)));
  }
  if constexpr (GATHERED) {
    cluster_barrier();
    if (rank == 0) choose(chosen, codes, entries, count);
  }
}
