// SPDX-License-Identifier: Apache-2.0
// Attention of one token over a layer's cache, from the sums of Wq, Wk and Wv to the heads'
// outputs: docs/numerics.md, sections 6 to 8.  One cluster a query head.
//
// Each cluster turns and codes its own query and its group's new key and value; the group's first
// one stores these two.  The slot that they go to is left out by all, so nobody minds when.
//
// The ring holds the newest SLOTS rows behind position 0, position p in slot (p - 1) % SLOTS; BOS
// has its own row of BOS_BITS.  A row is KV_BITS bits an element:
//   keys    [slot / 32][32 elements][bit][slot % 32]: words of one bit of 32 elements
//   values  [slot / 32][bit][element]: words of one bit of 32 slots
//   bos     [key, value][32 elements][bit]
// Bit 8 b + i of such a word meets byte b of word i of the other factor, so that four products at a
// time take three shifts and three masks.
#include "attention.cuh"
#include "new_row.cuh"

KERNEL attend(const int* sums, const unsigned* in_scale, unsigned q_alpha, unsigned k_alpha,
              unsigned v_alpha, unsigned score_scale, const short* cosines, const short* sines,
              const unsigned short* exp2_table, unsigned* keys, unsigned* values,
              unsigned short* key_scales, unsigned short* value_scales, unsigned* bos,
              unsigned short* bos_scales, s64* outputs, unsigned* out_scales,
              const int* at_position) {
  STATE(Head, state);
  const int thread = threadIdx.x, head = blockIdx.x / RANKS, rank = blockIdx.x % RANKS;
  const int group = head / (HEADS / KV_HEADS);
  const bool first_block = rank == 0;
  keys += group * CACHE_WORDS;
  values += group * CACHE_WORDS;
  key_scales += group * PADDED;
  value_scales += group * PADDED;
  bos += group * 2 * SPANS * BOS_BITS;
  bos_scales += group * 2;

  // Of this token nothing is needed for what older tokens left: it is read ahead.
  const int position = fresh(at_position), slot = position > 0 ? (position - 1) % SLOTS : -1;
  const int held = position - 1 < SLOTS ? position - 1 : SLOTS;  // -1 and 0: none
  const int span = thread % PARTS, near_row = slot_of(thread / PARTS, rank);
  const int element = thread % WIDTH, share_of = thread / WIDTH;
  unsigned key_ahead[KV_BITS], value_ahead[KV_BITS];
  load_key(key_ahead, keys, near_row, span, held);
  load_value(value_ahead, values, slot_of(32 * share_of, rank) / 32, element,
             share_of < SHARES ? held : 0);
  const unsigned near_key_scale = near_row < held ? fresh(key_scales + near_row) : 0;
  const unsigned near_value_scale = near_row < held ? fresh(value_scales + near_row) : 0;
  for (int i = thread; i < 256; i += THREADS) state.exp2_of[i] = exp2_table[i];
  NewRow row(position, cosines, sines, bos, values, slot);
  cluster_barrier();  // all blocks are there to be written to
  follow();
  row.read(state, sums, head, group, first_block);
  const Small scale = from_bits(fresh(in_scale));
  __syncthreads();
  row.code(state, scale, q_alpha, k_alpha, v_alpha, score_scale, first_block);
  __syncthreads();

  // Pass 1: scores, the largest of them, the largest exponent of a value's scale.
  const int code_sum = sum_of_warps(state.dots[2]);
  int top = NO_SCORE, common = NO_EXPONENT;
  const Small unit = state.unit;
  const auto enter = [&](int place, int dot, unsigned key_scale, unsigned value_scale) {
    const int z = scale_int(dot, mul(unit, decode_kv_scale(key_scale)), 0, 24);
    state.score[place] = z;
    state.value_scale[place] = static_cast<unsigned short>(value_scale);
    top = z > top ? z : top;
    const Small of_value = decode_kv_scale(value_scale);
    if (of_value.m && of_value.e > common) common = of_value.e;
  };
  unsigned query[Q_DIGITS][8];
#pragma unroll
  for (int d = 0; d < Q_DIGITS; d++)
#pragma unroll
    for (int i = 0; i < 8; i++)
      query[d][i] = span < SPANS ? state.query[d][span * 8 + i] : 0;
  // The new row and BOS are entered by threads that otherwise wait, where a key is several's.
  const bool for_new = first_block && thread == THREADS - 1;
  const bool for_bos = first_block && thread == THREADS - 33 && position > 0;
  int dot_of_own = 0;
  if (first_block && thread >= THREADS - 64)  // whole warps
    dot_of_own = sum_of_warps(state.dots[thread >= THREADS - 32 ? 0 : 1]);
  const unsigned own_scales[2] = {for_bos ? fresh(bos_scales) : state.new_scales[0],
                                  for_bos ? fresh(bos_scales + 1) : state.new_scales[1]};
#pragma unroll 1
  for (int place = thread / PARTS; place < ROWS || slot_of(place / 32 * 32, rank) < held;
       place += ROWS) {
    const int at = slot_of(place, rank);
    const bool near = place < ROWS;
    if (!near) load_key(key_ahead, keys, at, span, held);
    int dot = key_dot(key_ahead, query);
#pragma unroll
    for (int apart = 1; apart < PARTS; apart *= 2) dot += __shfl_xor_sync(ALL, dot, apart);
    const bool own = PARTS > 1 && near && (for_new || for_bos);
    if (own || (span == 0 && at < held && at != slot))
      enter(own ? OWN + for_bos : place, own ? dot_of_own : STEP * dot - OFFSET * code_sum,
            own ? own_scales[0] : near ? near_key_scale : fresh(key_scales + at),
            own ? own_scales[1] : near ? near_value_scale : fresh(value_scales + at));
  }
  if (PARTS == 1 && (for_new || for_bos))
    enter(OWN + for_bos, dot_of_own, own_scales[0], own_scales[1]);
  share(state.tops, rank, __reduce_max_sync(ALL, top));
  share(state.exponents, rank, __reduce_max_sync(ALL, common));
  cluster_barrier();
  top = largest_of(state.tops);
  common = largest_of(state.exponents);
  common = common < -128 ? -128 : common;

  // Pass 2: weights, then their codes.
  int total = 0, heavy = 0;
  const auto weigh = [&](int place) {
    const unsigned weight = exp2_weight(top - state.score[place], state.exp2_of);
    const Small of_value = decode_kv_scale(state.value_scale[place]);
    const int scaled = static_cast<int>(value_weight(weight, of_value, common));
    total += static_cast<int>(weight);
    heavy = scaled > heavy ? scaled : heavy;
    state.score[place] = scaled;
  };
#pragma unroll 1
  for (int place = thread; place < OWN && slot_of(place / 32 * 32, rank) < held; place += THREADS) {
    const int at = slot_of(place, rank);
    if (at < held && at != slot) weigh(place);
  }
  if (for_new || for_bos) weigh(OWN + for_bos);
  share(state.totals, rank, static_cast<int>(__reduce_add_sync(ALL, total)));
  share(state.heaviest, rank, __reduce_max_sync(ALL, heavy));
  cluster_barrier();
  heavy = largest_of(state.heaviest);
  const unsigned levels = (1u << C_BITS) - 1;
  const Small ratio = div(from_word(levels), from_word(heavy));
  int sum = 0;
#pragma unroll 1
  for (int place = thread; place < OWN && slot_of(place / 32 * 32, rank) < held; place += THREADS) {
    const int at = slot_of(place, rank);
    const unsigned code =
        at < held && at != slot ? weight_code(state.score[place], ratio, levels) : 0;
    put_byte(state.weights[0], place, code);
    if (C_DIGITS == 2) put_byte(state.weights[C_DIGITS - 1], place, code >> 8);
    sum += static_cast<int>(code);
  }
  sum = __reduce_add_sync(ALL, sum);
  if (thread % 32 == 0) state.code_sums[thread / 32] = sum;
  __syncthreads();

  // Weighted sums of the value rows.
  s64 output = 0;
#pragma unroll 1
  for (int set = share_of; share_of < SHARES && set < OWN / 32; set += SHARES) {
    const int at = slot_of(32 * set, rank);
    if (at >= held) break;
    if (set > share_of) load_value(value_ahead, values, at / 32, element, held);
    output += value_dot(value_ahead, state.weights, set);
  }
  state.part[thread] = output;
  sum = sum_of_warps(state.code_sums, WARPS);
  __syncthreads();
  if (thread < WIDTH) {
    output = 0;
#pragma unroll
    for (int i = 0; i < SHARES; i++) output += state.part[i * WIDTH + thread];
    *peer(&state.outputs[rank][thread], 0) = STEP * output - static_cast<s64>(OFFSET) * sum;
  }
  cluster_barrier();
  if (rank == RANKS - 1 && thread >= THREADS - 32) {
    total = sum_of(state.totals);
    if (thread == THREADS - 1)
      out_scales[head] = to_bits(head_scale(heavy, common, total, levels));
  }
  if (!first_block) return;
  if (thread < HEAD_DIM) {
    output = static_cast<s64>(weight_code(state.score[OWN], ratio, levels)) * row.value;
    if (position > 0)
      output += static_cast<s64>(weight_code(state.score[OWN + 1], ratio, levels)) * row.bos_value;
#pragma unroll
    for (int i = 0; i < RANKS; i++) output += state.outputs[i][thread];
    outputs[head * HEAD_DIM + thread] = output;
  }
  if (head % (HEADS / KV_HEADS) == 0)
    row.store(state, keys, values, key_scales, value_scales, bos, bos_scales, slot);
}
