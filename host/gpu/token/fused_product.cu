// SPDX-License-Identifier: Apache-2.0
// y = W x, x being computed from what the launch ahead left, by each block for itself: docs/gpu.md.
//
// W: trits [ROWS, N], packed as rows (kernels/rows.cuh).  SOURCE says what x is:
//   CODES  codes [DEPTH * 256] with a scale
//   WORDS  the residual stream through norm and quantiser, with partial statistics of it
//   JOIN   HEADS outputs of attention with a scale each, brought to one exponent; norm, quantiser;
//          with KEEP >= 0 only that many codes of the largest magnitude stay
//   GLU    relu(gate)**2 * up of sums [2 N], with partial maxima of the gates; norm, quantiser
// and SINK what becomes of the sums:
//   SUMS   they are stored
//   GATES  the same, and partial maxima of the upper half's
//   ADD    they are added to the residual stream, with partial statistics for the norm behind it
// The last warp of a block holds no weights: it computes the scale of the codes, which SUMS and
// GATES store for a later launch.
constexpr int RANKS = 1, THREADS = 32 * (SPLIT + 1);
#include "rows.cuh"
#include "coding.cuh"
#include "residual.cuh"

constexpr int CODES = 0, WORDS = 1, JOIN = 2, GLU = 3;
constexpr int SUMS = 0, GATES = 1, ADD = 2;
constexpr int WAVES = (SPAN + 31) / 32;  // warps that have sums
static_assert(WAVES * 32 <= THREADS, "a thread for each row");

__device__ __forceinline__ void worker_barrier() { barrier_of<32 * SPLIT>(); }

#include "keep.cuh"
#include "sources.cuh"

struct Fused {
  alignas(16) signed char codes[SPLIT][SHARE * 256];
  int parts[SPLIT][SPAN];
  u64 squares[PARTIALS], statistics[PARTIALS];
  Kept kept;
  unsigned scale;
  int peaks[WAVES];
};

// Reduce what every warp has of the words, over the block; a barrier follows.
__device__ __forceinline__ void put_words(Fused& state, const Vector& x, const Gains& gains) {
  u64 squares = 0, largest = 0;
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int k = 0; k < RUN; k++) {
        const int word = x.word[s][h][k];
        squares += static_cast<u64>(static_cast<s64>(word) * word);
        const u64 magnitude = magnitude_of(word, gains.of[s][h][k]);
        largest = magnitude > largest ? magnitude : largest;
      }
  share(state.squares, 0, warp_sum<SHARE == 1 ? 54 : 63>(squares));
  share(state.statistics, 0, warp_max(largest));
}

KERNEL fused_product(const void* w, const void* source, const unsigned* in_scale, unsigned alpha,
                     unsigned beta, const int* in_peaks, const u64* in_parts, const short* gains,
                     unsigned gain_scale, unsigned eps, unsigned levels, int* y,
                     unsigned* out_scale, int* out_peaks, unsigned own_alpha, int* residual,
                     const short* next_gains, u64* out_parts) {
  STATE(Fused, state);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * SPAN;
  const int row = first + static_cast<int>(threadIdx.x);
  const bool worker = warp < SPLIT, writes = threadIdx.x < SPAN && row < ROWS;
  const Rows rows(w, first, warp, lane);
  const Gains gain(gains);
  const int next_gain = SINK == ADD && writes ? next_gains[row] : 0;
  if (SOURCE == JOIN && KEEP >= 0) clear(state.kept);
  follow();
  const int old = SINK == ADD && writes ? fresh(residual + row) : 0;

  Small scale = {0, 0};  // of the codes, in the last warp
  if constexpr (SOURCE == CODES) {
    if (worker) {
#pragma unroll
      for (int s = 0; s < SHARE; s++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int at = (s * SPLIT + warp) * 256 + h * 128 + lane * RUN;
          const unsigned* codes = static_cast<const unsigned*>(source);
          reinterpret_cast<unsigned*>(state.codes[warp])[s * 64 + h * 32 + lane] =
              at < DEPTH * 256 ? fresh(codes + at / 4) : 0;
        }
    } else {
      scale = from_bits(fresh(in_scale));
    }
  } else {
    Vector x;
    Small unit;
    u64 statistic;
    if constexpr (SOURCE == WORDS) {
      residual_words(x, static_cast<const int*>(source));
      statistic = statistic_of<PARTS_IN>(in_parts + PARTS_IN);
      unit = residual_unit();
    } else {
      if constexpr (SOURCE == JOIN) {
        unit = joined_words(x, static_cast<const s64*>(source), in_scale);
      } else {
        const Small of_sums = from_bits(fresh(in_scale));
        const int by = glu_words(x, static_cast<const int*>(source), in_peaks);
        if (!worker) {
          const Small of_gate = mul(of_sums, from_bits(alpha));
          unit = shift(mul(mul(of_gate, of_gate), mul(of_sums, from_bits(beta))), by);
        }
      }
      put_words(state, x, gain);
      __syncthreads();
      statistic = largest_of(state.statistics);
    }
    if (worker) {
      const Coder coder(div(from_bits(levels), from_int(statistic)));
      unsigned codes[SHARE][2];
#pragma unroll
      for (int s = 0; s < SHARE; s++)
#pragma unroll
        for (int h = 0; h < 2; h++) codes[s][h] = coder.run(x.word[s][h], gain.of[s][h]);
      if constexpr (SOURCE == JOIN && KEEP >= 0) keep_largest(state.kept, codes);
#pragma unroll
      for (int s = 0; s < SHARE; s++)
#pragma unroll
        for (int h = 0; h < 2; h++)
          reinterpret_cast<unsigned*>(state.codes[warp])[s * 64 + h * 32 + lane] = codes[s][h];
    } else if (SINK == ADD || blockIdx.x == 0) {
      const u64 squares =
          SOURCE == WORDS ? square_sum_of<PARTS_IN>(in_parts) : sum_of<63>(state.squares);
      scale = norm_scale(squares, statistic, unit, from_bits(gain_scale), from_bits(eps),
                         from_bits(levels));
    }
  }
  if (worker) {
    __syncwarp();
    rows.multiply(state.codes[warp], state.parts[warp], lane);
  } else if (lane == 0) {
    if (SINK == ADD) state.scale = to_bits(mul(scale, from_bits(own_alpha)));
    if (SINK != ADD && SOURCE != CODES && blockIdx.x == 0) *out_scale = to_bits(scale);
  }
  __syncthreads();

  int sum = 0;
  if (threadIdx.x < SPAN) {
#pragma unroll
    for (int k = 0; k < SPLIT; k++) sum += state.parts[k][threadIdx.x];
  }
  if constexpr (SINK != ADD) {
    if (writes) y[row] = sum;
  }
  if constexpr (SINK == GATES) {
    if (warp < WAVES) {
      const int peak = __reduce_max_sync(ALL, writes && row < ROWS / 2 && sum > 0 ? sum : 0);
      if (lane == 0) state.peaks[warp] = peak;
    }
    __syncthreads();
    if (threadIdx.x == 0 && first < ROWS / 2) {
      int peak = 0;
#pragma unroll
      for (int k = 0; k < WAVES; k++) peak = state.peaks[k] > peak ? state.peaks[k] : peak;
      out_peaks[blockIdx.x] = peak;
    }
  }
  if constexpr (SINK == ADD) {
    if (warp < WAVES) {
      const int addend = scale_int(sum, from_bits(state.scale), FRACTION, 24);
      const int word = writes ? add_words(old, addend) : 0;
      if (writes) residual[row] = word;
      put_statistics(word, next_gain, blockIdx.x * WAVES + warp, out_parts);
    }
  }
}
