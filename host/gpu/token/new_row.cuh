// SPDX-License-Identifier: Apache-2.0
// A token's own query, key and value: turned, coded, stored.  Included by attention.cu.
#pragma once

struct NewRow {
  int position, bits, cosine, sine, bos_key, bos_value;
  int vectors[3];  // this thread's element of query, key and value
  int key_code, value_code, value;
  unsigned old_words[KV_BITS];  // of values, with the slot's bit

  // What does not depend on the token itself.
  __device__ __forceinline__ NewRow(int at, const short* cosines, const short* sines,
                                    const unsigned* bos, const unsigned* values, int slot)
      : position(at), bits(at > 0 ? KV_BITS : BOS_BITS), cosine(0), sine(0), bos_key(0),
        bos_value(0), vectors{}, key_code(0), value_code(0), value(0), old_words{} {
    const int element = threadIdx.x, half = HEAD_DIM / 2;
    if (slot >= 0 && element < WIDTH) load_value(old_words, values, slot / 32, element, SLOTS);
    if (element < HEAD_DIM) {
      cosine = cosines[position * half + element % half];
      sine = sines[position * half + element % half];
      bos_key = row_step(bos_code(bos, element), BOS_BITS, MIDRISE);
      bos_value = row_step(bos_code(bos + SPANS * BOS_BITS, element), BOS_BITS, MIDRISE);
    }
  }

  // RoPE, and the largest magnitudes; a barrier follows.  Keys and values are the first block's.
  __device__ __forceinline__ void read(Head& state, const int* sums, int head, int group,
                                       bool first_block) {
    const int element = threadIdx.x, half = HEAD_DIM / 2;
    if (element >= WIDTH) return;
    if (element < HEAD_DIM) {
      const int pair = element < half ? element + half : element - half;
      const int turn = element < half ? sine : -sine;
      const int* q = sums + head * HEAD_DIM;
      const int* k = sums + (HEADS + group) * HEAD_DIM;
      const int* v = k + KV_HEADS * HEAD_DIM;
      const int own[3] = {fresh(q + element), first_block ? fresh(k + element) : 0,
                          first_block ? fresh(v + element) : 0};
      const int other[2] = {fresh(q + pair), first_block ? fresh(k + pair) : 0};
      vectors[0] = rotated(own[0], other[0], cosine, turn, EXTRA);
      vectors[1] = rotated(own[1], other[1], cosine, turn, EXTRA);
      vectors[2] = own[2];
    }
#pragma unroll
    for (int i = 0; i < 3; i++) {
      const int v = vectors[i], largest = __reduce_max_sync(ALL, v < 0 ? -v : v);
      if (element % 32 == 0) state.peaks[i][element / 32] = largest;
    }
  }

  // Codes, by the first threads; meanwhile three other warps see to the scales.  A barrier follows.
  __device__ __forceinline__ void code(Head& state, Small scale, unsigned q_alpha, unsigned k_alpha,
                                       unsigned v_alpha, unsigned score_scale, bool first_block) {
    const int thread = threadIdx.x, warp = thread / 32;
    const Small q_levels = from_word((1u << (Q_BITS - 1)) - 1);
    if (thread < WIDTH) {
      const bool inside = thread < HEAD_DIM;
      const Small q_ratio = div(q_levels, from_word(peak_of(state, 0)));
      const int query = inside ? scale_int(vectors[0], q_ratio, 0, Q_BITS) : 0;
      put_byte(state.query[0], thread, Q_DIGITS == 1 ? query : query & 15);
      if (Q_DIGITS == 2) put_byte(state.query[Q_DIGITS - 1], thread, query >> 4);
      put_sum(state.dots[2], query);
      if (!first_block) return;
      const Small k_ratio = row_ratio(peak_of(state, 1), bits, MIDRISE);
      const Small v_ratio = row_ratio(peak_of(state, 2), bits, MIDRISE);
      key_code = inside ? row_code(vectors[1], k_ratio, bits, MIDRISE) : 0;
      value_code = inside ? row_code(vectors[2], v_ratio, bits, MIDRISE) : 0;
      value = row_step(value_code, bits, MIDRISE);
      put_sum(state.dots[0], query * row_step(key_code, bits, MIDRISE));
      put_sum(state.dots[1], query * bos_key);
    } else if (warp == WIDTH / 32) {
      const Small levels = div(from_word(peak_of(state, 0)), q_levels);
      const Small of_q = shift(mul(scale, from_bits(q_alpha)), -EXTRA);
      if (thread % 32 == 0) state.unit = mul(mul(levels, of_q), from_bits(score_scale));
    } else if (warp == WIDTH / 32 + 1 && first_block) {
      const Small of_k = shift(mul(scale, from_bits(k_alpha)), -EXTRA);
      const unsigned code = row_scale(peak_of(state, 1), of_k, bits, MIDRISE);
      if (thread % 32 == 0) state.new_scales[0] = code;
    } else if (warp == WIDTH / 32 + 2 && first_block) {
      const Small of_v = mul(scale, from_bits(v_alpha));
      const unsigned code = row_scale(peak_of(state, 2), of_v, bits, MIDRISE);
      if (thread % 32 == 0) state.new_scales[1] = code;
    }
  }

  // By one block of a group: put them into a slot, or into BOS's row for slot -1.
  __device__ __forceinline__ void store(const Head& state, unsigned* keys, unsigned* values,
                                        unsigned short* key_scales, unsigned short* value_scales,
                                        unsigned* bos, unsigned short* bos_scales,
                                        int slot) const {
    const int thread = threadIdx.x, span = thread / 32, lane = thread % 32;
    if (thread == WIDTH + 32) (slot < 0 ? bos_scales : key_scales + slot)[0] = state.new_scales[0];
    if (thread == WIDTH + 64)
      (slot < 0 ? bos_scales + 1 : value_scales + slot)[0] = state.new_scales[1];
    if (thread >= WIDTH) return;
    constexpr int most = KV_BITS > BOS_BITS ? KV_BITS : BOS_BITS;
#pragma unroll
    for (int p = 0; p < most; p++) {
      const unsigned key_word = __ballot_sync(ALL, key_code >> p & 1);
      const unsigned value_word = __ballot_sync(ALL, value_code >> p & 1);
      if (slot < 0) {
        if (p < BOS_BITS && lane == 0) {
          bos[span * BOS_BITS + p] = key_word;
          bos[(SPANS + span) * BOS_BITS + p] = value_word;
        }
      } else if (p < KV_BITS) {
        if (lane == 0) keys[((slot / 32 * SPANS + span) * KV_BITS + p) * 32 + slot % 32] = key_word;
        const unsigned bit = static_cast<unsigned>(value_code >> p & 1) << slot % 32;
        values[(slot / 32 * KV_BITS + p) * WIDTH + thread] =
            (old_words[p < KV_BITS ? p : 0] & ~(1u << slot % 32)) | bit;
      }
    }
  }
};
