// SPDX-License-Identifier: Apache-2.0
// y += W x for ternary W [ROWS, COLUMNS] and an x of which few elements are not zero, exact.
//
// W: words [COLUMNS][PITCH], 16 rows a word, codes w + 1, host/gpu/packing.py.
// kept: entries of x in any order, index in bits 23:0 and value in 31:24; 16-byte aligned, with room
// for COLUMNS, rounded up to four.
// count: how many, 0 allowed; read on the device.
// y: [ROWS] int32, added to: SHARES blocks take the same 256 rows and share the entries out, 32 to a
// warp and step.
//
// Gathered words are transposed bytewise, which makes each mask of them a first operand of a
// product of bytes whose rows are words: 16 masks a word, one for each row in it.  The second
// operand holds x in one column and zeros in the others; as the column differs from mask to mask,
// eight masks share one sum.  A mask leaves a power of four in front, cut off at the end.
#include "planes.cuh"

constexpr int SPAN = 256;  // rows of a block
constexpr int THREADS = 32 * WARPS;
constexpr int LINE = 20;   // rows of a word and a gap: spreads what a warp writes over the banks

// Bytes i of four words side by side, for i = 0..3.
__device__ __forceinline__ void transpose(unsigned (&out)[4], unsigned in0, unsigned in1,
                                          unsigned in2, unsigned in3) {
  const unsigned a = __byte_perm(in0, in1, 0x5140), b = __byte_perm(in0, in1, 0x7362);
  const unsigned c = __byte_perm(in2, in3, 0x5140), d = __byte_perm(in2, in3, 0x7362);
  out[0] = __byte_perm(a, c, 0x5410);
  out[1] = __byte_perm(a, c, 0x7632);
  out[2] = __byte_perm(b, d, 0x5410);
  out[3] = __byte_perm(b, d, 0x7632);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
column_product(const unsigned* __restrict__ w, const unsigned* kept, const int* count, int* y) {
  __shared__ int parts[WARPS][16 * LINE];
  __shared__ int code_sums[WARPS];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
  const int share = blockIdx.x % SHARES, first = blockIdx.x / SHARES * SPAN;
  const uint2* column = reinterpret_cast<const uint2*>(w + first / 16) + g;
  wait_for_previous();

  const int end = load_fresh(count);  // the first entries are fetched before it has come
  int sums[2][4] = {}, own = 0;
#pragma unroll 1
  for (int from = 32 * (share * WARPS + warp), limit = COLUMNS; from < limit;
       from += 32 * WARPS * SHARES, limit = end) {
    unsigned codes[2], turned[2][2][4];  // [entries][word]
    uint2 words[2][4];
    uint4 raw[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int at = from + 16 * h + 4 * q;
      raw[h] = make_uint4(0, 0, 0, 0);
      if (at < COLUMNS) raw[h] = load_fresh(reinterpret_cast<const uint4*>(kept + at));
    }
    if (from >= end) break;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int at = from + 16 * h + 4 * q;
      const unsigned entries[4] = {at < end ? raw[h].x : 0, at + 1 < end ? raw[h].y : 0,
                                   at + 2 < end ? raw[h].z : 0, at + 3 < end ? raw[h].w : 0};
#pragma unroll
      for (int i = 0; i < 4; i++)  // an entry of zeros adds nothing, whatever it reads
        words[h][i] = load_constant(column + (entries[i] & 0xFFFFFF) * (PITCH / 2));
      codes[h] = __byte_perm(__byte_perm(entries[0], entries[1], 0x0073),
                             __byte_perm(entries[2], entries[3], 0x0073), 0x5410);
      asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(own) : "r"(0x01010101u), "r"(codes[h]));
    }
    launch_dependents();  // whose own gather then follows this one
#pragma unroll
    for (int h = 0; h < 2; h++) {
      transpose(turned[h][0], words[h][0].x, words[h][1].x, words[h][2].x, words[h][3].x);
      transpose(turned[h][1], words[h][0].y, words[h][1].y, words[h][2].y, words[h][3].y);
    }
#pragma unroll
    for (int i = 0; i < 16; i++) {
      const unsigned mask = 0x03030303u << 2 * (i & 3);
      const unsigned a[4] = {turned[0][0][i / 4] & mask, turned[0][1][i / 4] & mask,
                             turned[1][0][i / 4] & mask, turned[1][1][i / 4] & mask};
      multiply_bytes(sums[i / 8], a, g == i % 8 ? codes[0] : 0, g == i % 8 ? codes[1] : 0);
    }
  }
  launch_dependents();
  // A thread holds rows g and g + 8 of the product, words 2 g and 2 g + 1, and of its columns, the
  // rows in a word, 2 q and 2 q + 1, the second sum's eight further on.
  own += __shfl_xor_sync(~0u, own, 1);
  own += __shfl_xor_sync(~0u, own, 2);
  if (lane == 0) code_sums[warp] = own;
#pragma unroll
  for (int s = 0; s < 2; s++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = 8 * s + 2 * q + (i & 1), word = 2 * g + (i >> 1);
      parts[warp][LINE * word + row] = sums[s][i] >> 2 * (row & 3);
    }
  __syncthreads();
  for (int i = threadIdx.x; i < SPAN; i += THREADS) {
    const int row = first + i;
    int sum = 0;
#pragma unroll
    for (int k = 0; k < WARPS; k++) sum += parts[k][i / 16 * LINE + i % 16] - code_sums[k];
    if (row < ROWS && sum != 0) atomicAdd(y + row, sum);
  }
}
