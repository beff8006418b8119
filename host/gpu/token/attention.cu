// SPDX-License-Identifier: Apache-2.0
// Attention of one token over a layer's cache, from the sums of Wq, Wk and Wv to the heads' outputs:
// docs/numerics.md, sections 6 to 8.  One block a query head.
//
// Every block turns and codes its own query and its group's new key and value; the group's first
// block stores these two.  The slot that they go to is left out by all, so nobody minds when.
//
// The ring holds the newest SLOTS rows behind position 0, position p in slot (p - 1) % SLOTS, which
// has its own row of BOS_BITS.  A row is KV_BITS bits an element:
//   keys    [slot / 32][32 elements][bit][slot % 32]: words of one bit of 32 elements
//   values  [slot / 32][bit][element]: words of one bit of 32 slots
//   bos     [key, value][32 elements][bit]
// Bit 8 b + i of such a word meets byte b of word i of the other factor, so that four products at a
// time take three shifts and three masks.
#include "attention.cuh"

KERNEL attend(const int* sums, const unsigned* in_scale, unsigned q_alpha, unsigned k_alpha,
              unsigned v_alpha, unsigned score_scale, const short* cosines, const short* sines,
              const unsigned short* exp2_table, unsigned* keys, unsigned* values,
              unsigned short* key_scales, unsigned short* value_scales, unsigned* bos,
              unsigned short* bos_scales, s64* outputs, unsigned* out_scales,
              const int* at_position) {
  SHARED unsigned query[Q_DIGITS][SPANS * 8];   // bytes: element 8 b + i in byte b of word i
  SHARED unsigned weights[C_DIGITS][SETS * 8];  // the same of slots
  SHARED int score[PADDED + 2];                 // then weights; behind the ring: new row, BOS
  SHARED unsigned short exp2_of[256];
  SHARED s64 part[THREADS];
  SHARED unsigned peaks[3][32];
  SHARED IntParts dots[3], tops, exponents, totals, heaviest, code_sums;
  SHARED Small unit;
  SHARED unsigned new_scales[2];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int head = blockIdx.x, group = head / (HEADS / KV_HEADS);
  const bool stores = head % (HEADS / KV_HEADS) == 0, element = thread < HEAD_DIM;
  keys += group * CACHE_WORDS;
  values += group * CACHE_WORDS;
  key_scales += group * PADDED;
  value_scales += group * PADDED;
  bos += group * 2 * SPANS * BOS_BITS;
  bos_scales += group * 2;

  // Of this token nothing is needed for what older tokens left: it is read ahead.
  const int position = fresh(at_position), slot = position > 0 ? (position - 1) % SLOTS : -1;
  const int held = position - 1 < SLOTS ? position - 1 : SLOTS;  // -1 and 0: none
  const int row_part = thread % PARTS, row_first = thread / PARTS;
  unsigned key_ahead[KV_BITS], value_ahead[KV_BITS];
  load_key(key_ahead, keys, row_first, row_part, held);
  load_value(value_ahead, values, thread / WIDTH, thread % WIDTH, held);
  for (int i = thread; i < 256; i += THREADS) exp2_of[i] = exp2_table[i];
  const int half = HEAD_DIM / 2, pair = thread < half ? thread + half : thread - half;
  int cosine = 0, sine = 0, bos_key = 0, bos_value = 0;
  if (element) {
    cosine = cosines[position * half + thread % half];
    sine = sines[position * half + thread % half];
    bos_key = row_step(bos_code(bos, thread), BOS_BITS, MIDRISE);
    bos_value = row_step(bos_code(bos + SPANS * BOS_BITS, thread), BOS_BITS, MIDRISE);
  }
  follow();

  // RoPE, and the largest magnitudes.
  int q = 0, k = 0, v = 0;
  if (element) {
    const int* of_q = sums + head * HEAD_DIM;
    const int* of_k = sums + (HEADS + group) * HEAD_DIM;
    const int turn = thread < half ? sine : -sine;
    q = rotated(fresh(of_q + thread), fresh(of_q + pair), cosine, turn, EXTRA);
    k = rotated(fresh(of_k + thread), fresh(of_k + pair), cosine, turn, EXTRA);
    v = fresh(sums + (HEADS + KV_HEADS + group) * HEAD_DIM + thread);
  }
  const Small scale = from_bits(fresh(in_scale));
  if (thread < WIDTH) {
    const int vectors[3] = {q, k, v};
#pragma unroll
    for (int i = 0; i < 3; i++) {
      const int largest = __reduce_max_sync(ALL, vectors[i] < 0 ? -vectors[i] : vectors[i]);
      if (lane == 0) peaks[i][warp] = static_cast<unsigned>(largest);
    }
  }
  __syncthreads();
  unsigned peak[3];
#pragma unroll
  for (int i = 0; i < 3; i++) peak[i] = __reduce_max_sync(ALL, lane < SPANS ? peaks[i][lane] : 0u);

  // Codes; meanwhile other warps see to the scales.
  const int bits = position > 0 ? KV_BITS : BOS_BITS;
  int new_value = 0;
  if (thread < WIDTH) {
    const Small q_levels = from_int((1u << (Q_BITS - 1)) - 1);
    const int code = element ? scale_int(q, div(q_levels, from_int(peak[0])), 0, Q_BITS) : 0;
    const int key = element ? row_code(k, row_ratio(peak[1], bits, MIDRISE), bits, MIDRISE) : 0;
    const int value = element ? row_code(v, row_ratio(peak[2], bits, MIDRISE), bits, MIDRISE) : 0;
    const int new_key = row_step(key, bits, MIDRISE);
    new_value = row_step(value, bits, MIDRISE);
    put_byte(query[0], thread, Q_DIGITS == 1 ? code : code & 15);
    if (Q_DIGITS == 2) put_byte(query[Q_DIGITS - 1], thread, code >> 4);
    dots[0].put(__reduce_add_sync(ALL, code * new_key));
    dots[1].put(__reduce_add_sync(ALL, code * bos_key));
    dots[2].put(__reduce_add_sync(ALL, code));
    if (stores) store_row(keys, values, bos, key, value, slot);
  } else if (thread == WIDTH) {
    const Small q_levels = from_int((1u << (Q_BITS - 1)) - 1);
    const Small of_q = shift(mul(scale, from_bits(q_alpha)), -EXTRA);
    unit = mul(mul(div(from_int(peak[0]), q_levels), of_q), from_bits(score_scale));
  } else if (thread == WIDTH + 32) {
    const Small of_k = shift(mul(scale, from_bits(k_alpha)), -EXTRA);
    new_scales[0] = row_scale(peak[1], of_k, bits, MIDRISE);
    if (stores) (slot < 0 ? bos_scales : key_scales + slot)[0] = new_scales[0];
  } else if (thread == WIDTH + 64) {
    new_scales[1] = row_scale(peak[2], mul(scale, from_bits(v_alpha)), bits, MIDRISE);
    if (stores) (slot < 0 ? bos_scales + 1 : value_scales + slot)[0] = new_scales[1];
  }
  __syncthreads();

  // Pass 1: scores, the largest of them, the largest exponent of a value's scale.
  const auto warp_dot = [&](int i) {
    return __reduce_add_sync(ALL, lane < SPANS ? dots[i].of[lane] : 0);
  };
  const int with_new = warp_dot(0), with_bos = warp_dot(1), code_sum = warp_dot(2);
  int top = NO_SCORE, common = -(1 << 20);
  const auto enter = [&](int place, int dot, unsigned key_scale, unsigned value_scale) {
    const int z = scale_int(dot, mul(unit, decode_kv_scale(key_scale)), 0, 24);
    score[place] = z;
    top = z > top ? z : top;
    const Small of_value = decode_kv_scale(value_scale);
    if (of_value.m && of_value.e > common) common = of_value.e;
  };
  unsigned own_query[Q_DIGITS][8];
#pragma unroll
  for (int d = 0; d < Q_DIGITS; d++)
#pragma unroll
    for (int i = 0; i < 8; i++)
      own_query[d][i] = row_part < SPANS ? query[d][row_part * 8 + i] : 0;
  for (int first = 0; first < held; first += ROWS) {
    const int row = first + row_first;
    if (first > 0) load_key(key_ahead, keys, row, row_part, held);
    int dot = key_dot(key_ahead, own_query);
#pragma unroll
    for (int apart = 1; apart < PARTS; apart *= 2) dot += __shfl_xor_sync(ALL, dot, apart);
    if (row_part == 0 && row < held && row != slot)
      enter(row, STEP * dot - OFFSET * code_sum, fresh(key_scales + row),
            fresh(value_scales + row));
  }
  if (thread == THREADS - 1) enter(PADDED, with_new, new_scales[0], new_scales[1]);
  if (thread == THREADS - 33 && position > 0)
    enter(PADDED + 1, with_bos, fresh(bos_scales), fresh(bos_scales + 1));
  tops.put(__reduce_max_sync(ALL, top));
  exponents.put(__reduce_max_sync(ALL, common));
  __syncthreads();
  top = tops.largest();
  common = exponents.largest();
  common = common < -128 ? -128 : common;

  // Pass 2: weights, then their codes.
  int total = 0, heavy = 0;
  const auto weigh = [&](int place, unsigned value_scale) {
    const unsigned weight = exp2_weight(static_cast<s64>(top) - score[place], exp2_of);
    const int scaled = static_cast<int>(value_weight(weight, decode_kv_scale(value_scale), common));
    total += static_cast<int>(weight);
    heavy = scaled > heavy ? scaled : heavy;
    score[place] = scaled;
  };
  for (int row = thread; row < held; row += THREADS)
    if (row != slot) weigh(row, fresh(value_scales + row));
  if (thread == THREADS - 1) weigh(PADDED, new_scales[1]);
  if (thread == THREADS - 33 && position > 0) weigh(PADDED + 1, fresh(bos_scales + 1));
  totals.put(__reduce_add_sync(ALL, total));
  heaviest.put(__reduce_max_sync(ALL, heavy));
  __syncthreads();
  total = totals.sum();
  heavy = heaviest.largest();
  const unsigned levels = (1u << C_BITS) - 1;
  const Small ratio = div(from_int(levels), from_int(heavy));
  int sum = 0;
  for (int row = thread; row < (held + 31) / 32 * 32; row += THREADS) {
    const unsigned code = row < held && row != slot ? weight_code(score[row], ratio, levels) : 0;
    put_byte(weights[0], row, code);
    if (C_DIGITS == 2) put_byte(weights[C_DIGITS - 1], row, code >> 8);
    sum += static_cast<int>(code);
  }
  code_sums.put(__reduce_add_sync(ALL, sum));
  __syncthreads();

  // Weighted sums of the value rows.
  const int of = thread % WIDTH, share = thread / WIDTH;
  s64 output = 0;
  for (int set = share; share < SHARES && set * 32 < held; set += SHARES) {
    if (set > share) load_value(value_ahead, values, set, of, held);
    output += value_dot(value_ahead, weights, set);
  }
  part[thread] = output;
  if (thread == THREADS - 1)
    out_scales[head] = to_bits(head_scale(heavy, common, total, levels));
  sum = code_sums.sum();
  __syncthreads();
  if (element) {
    output = 0;
#pragma unroll
    for (int i = 0; i < SHARES; i++) output += part[i * WIDTH + thread];
    output = STEP * output - static_cast<s64>(OFFSET) * sum;
    output += static_cast<s64>(weight_code(score[PADDED], ratio, levels)) * new_value;
    if (position > 0)
      output += static_cast<s64>(weight_code(score[PADDED + 1], ratio, levels)) * bos_value;
    outputs[head * HEAD_DIM + thread] = output;
  }
}
