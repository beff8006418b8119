// SPDX-License-Identifier: Apache-2.0
// The kernels' arithmetic, an array at a time, for tests without a GPU.
#include "formats.cuh"

#define EACH for (int i = 0; i < n; i++)
#define EXPORT extern "C" void

EXPORT t_from_int(int n, const s64* v, unsigned* out) { EACH out[i] = to_bits(from_int(v[i])); }
EXPORT t_mul(int n, const unsigned* a, const unsigned* b, unsigned* out) {
  EACH out[i] = to_bits(mul(from_bits(a[i]), from_bits(b[i])));
}
EXPORT t_div(int n, const unsigned* a, const unsigned* b, unsigned* out) {
  EACH out[i] = to_bits(div(from_bits(a[i]), from_bits(b[i])));
}
EXPORT t_add(int n, const unsigned* a, const unsigned* b, unsigned* out) {
  EACH out[i] = to_bits(add(from_bits(a[i]), from_bits(b[i])));
}
EXPORT t_sqrt(int n, const unsigned* a, unsigned* out) {
  EACH out[i] = to_bits(sqrt(from_bits(a[i])));
}
EXPORT t_shift(int n, const unsigned* a, const s64* by, unsigned* out) {
  EACH out[i] = to_bits(shift(from_bits(a[i]), static_cast<int>(by[i])));
}
EXPORT t_scale_int(int n, const s64* y, const unsigned* s, const s64* by, s64 bits, s64* out) {
  EACH out[i] = scale_int(y[i], from_bits(s[i]), static_cast<int>(by[i]), static_cast<int>(bits));
}
EXPORT t_round_shift(int n, const s64* v, const s64* by, s64* out) {
  EACH out[i] = round_shift(v[i], static_cast<int>(by[i]));
}
EXPORT t_activation(int n, const s64* y, unsigned ratio, s64 format, s64* out) {
  EACH out[i] = activation_code(y[i], from_bits(ratio), static_cast<int>(format));
}
EXPORT t_norm_scale(int n, const s64* squares, const s64* statistic, const unsigned* scale,
                    const unsigned* gain, const unsigned* eps, const unsigned* levels,
                    unsigned* out) {
  EACH out[i] = to_bits(norm_scale(squares[i], statistic[i], from_bits(scale[i]),
                                   from_bits(gain[i]), from_bits(eps[i]), from_bits(levels[i])));
}
EXPORT t_rotated(int n, const s64* a, const s64* b, const s64* cos, const s64* sin, s64 extra,
                 s64* out) {
  EACH out[i] = rotated(static_cast<int>(a[i]), static_cast<int>(b[i]), static_cast<int>(cos[i]),
                        static_cast<int>(sin[i]), static_cast<int>(extra));
}
EXPORT t_row(int n, const s64* x, s64 peak, s64 bits, s64 midrise, s64* out) {
  const Small ratio = row_ratio(peak, static_cast<int>(bits), midrise);
  EACH out[i] = row_code(x[i], ratio, static_cast<int>(bits), midrise);
}
EXPORT t_row_scale(int n, const s64* peak, const unsigned* s, s64 bits, s64 midrise, s64* out) {
  EACH out[i] = row_scale(peak[i], from_bits(s[i]), static_cast<int>(bits), midrise);
}
EXPORT t_encode(int n, const unsigned* s, s64* out) {
  EACH out[i] = encode_kv_scale(from_bits(s[i]));
}
EXPORT t_decode(int n, const s64* code, unsigned* out) {
  EACH out[i] = to_bits(decode_kv_scale(static_cast<unsigned>(code[i])));
}
EXPORT t_exp2(int n, const s64* distance, const unsigned short* table, s64* out) {
  EACH out[i] = exp2_weight(static_cast<int>(distance[i]), table);
}
EXPORT t_value_weight(int n, const s64* weight, const unsigned* s, const s64* common, s64* out) {
  EACH out[i] = value_weight(static_cast<unsigned>(weight[i]), from_bits(s[i]),
                             static_cast<int>(common[i]));
}
EXPORT t_weight_code(int n, const s64* weight, unsigned ratio, s64 levels, s64* out) {
  EACH out[i] = weight_code(static_cast<unsigned>(weight[i]), from_bits(ratio),
                            static_cast<unsigned>(levels));
}
EXPORT t_joined(int n, const s64* v, const unsigned* s, const s64* top, s64 places, s64* out) {
  EACH out[i] = joined_word(v[i], from_bits(s[i]), static_cast<int>(top[i]),
                            static_cast<int>(places));
}
EXPORT t_glu(int n, const s64* gate, const s64* up, s64 largest, s64 bound_bits, s64* out) {
  const int by = glu_shift(static_cast<int>(largest), static_cast<int>(bound_bits));
  EACH out[i] = glu_word(static_cast<int>(gate[i]), static_cast<int>(up[i]), by);
}
EXPORT t_short_glu(int n, const s64* gate, const s64* up, s64 largest, s64 bound_bits, s64* out) {
  const int by = glu_shift(static_cast<int>(largest), static_cast<int>(bound_bits));
  EACH out[i] = short_glu_word(static_cast<int>(gate[i]), static_cast<int>(up[i]), by);
}
