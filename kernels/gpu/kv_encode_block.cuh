// kernels/kv/block_codec.cpp for one thread: the values of a position that share a scale.
//
// The values are f16 ones, which no scale takes out of range. `value(i)` gives one of them,
// `code(i, c)` takes a code.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

struct BlockScales {
  std::uint16_t d = 0;  // f16
  std::uint16_t m = 0;
};

HEARTH_DEVICE float magnitude(float x) { return float_of(bits_of(x) & 0x7fffffffu); }
HEARTH_DEVICE float inverse(float d) { return d == 0 ? 0.0f : divide(1.0f, d); }
HEARTH_DEVICE int clamped(float x, int lowest, int highest) {
  const int code = nearest_even(x);
  return code < lowest ? lowest : code > highest ? highest : code;
}

// The first of those whose magnitude is largest.
template <typename Value>
HEARTH_DEVICE float extreme_of(Value value) {
  float extreme = 0;
  for (unsigned i = 0; i < kKvBlock; ++i)
    if (magnitude(value(i)) > magnitude(extreme)) extreme = value(i);
  return extreme;
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_q8(Value value, Code code) {
  const float d = divide(magnitude(extreme_of(value)), 127.0f), factor = inverse(d);
  for (unsigned i = 0; i < kKvBlock; ++i) code(i, clamped(value(i) * factor, -127, 127));
  return {f16_of_f32(d), 0};
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_symmetric(int offset, Value value, Code code) {
  const float d = divide(extreme_of(value), static_cast<float>(-offset)), factor = inverse(d);
  for (unsigned i = 0; i < kKvBlock; ++i)
    code(i, clamped(value(i) * factor + static_cast<float>(offset), 0, 2 * offset - 1));
  return {f16_of_f32(d), 0};
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_with_minimum(int highest, Value value, Code code) {
  float least = value(0), most = least;
  for (unsigned i = 1; i < kKvBlock; ++i) {
    least = value(i) < least ? value(i) : least;
    most = value(i) < most ? most : value(i);
  }
  const float d = divide(most - least, static_cast<float>(highest)), factor = inverse(d);
  for (unsigned i = 0; i < kKvBlock; ++i) code(i, clamped((value(i) - least) * factor, 0, highest));
  return {f16_of_f32(d), f16_of_f32(least)};
}

HEARTH_DEVICE int table_entry(const KvLayout& layout, unsigned code) {
  return static_cast<std::int8_t>(layout.table[code / 4] >> (code % 4 * 8));
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_nearest(const KvLayout& layout, Value value, Code code) {
  const float first = divide(extreme_of(value), static_cast<float>(table_entry(layout, 0)));
  const float factor = inverse(first);
  double products = 0, squares = 0;
  for (unsigned i = 0; i < kKvBlock; ++i) {
    const float scaled = value(i) * factor;
    unsigned best = 0;
    for (unsigned k = 1; k < 16; ++k)
      if (magnitude(scaled - static_cast<float>(table_entry(layout, k))) <
          magnitude(scaled - static_cast<float>(table_entry(layout, best))))
        best = k;
    code(i, static_cast<int>(best));
    const double x = value(i), weight = x * x, entry = table_entry(layout, best);
    products += weight * entry * x;
    squares += weight * entry * entry;
  }
  return {f16_of_f32(squares > 0 ? static_cast<float>(products / squares) : 0.0f), 0};
}

// The limits between centroids, above 0: kernels/kv/block_codec.cpp.
HEARTH_DEVICE int centroids_below(std::uint32_t bits, float x) {
  if (bits == 2) return x > .086728f ? 1 : 0;
  if (bits == 3) return (x > .043589f ? 1 : 0) + (x > .091775f ? 1 : 0) + (x > .154259f ? 1 : 0);
  return (x > .022832f ? 1 : 0) + (x > .046190f ? 1 : 0) + (x > .070693f ? 1 : 0) +
         (x > .097191f ? 1 : 0) + (x > .127056f ? 1 : 0) + (x > .162977f ? 1 : 0) +
         (x > .212231f ? 1 : 0);
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_turbo(const KvLayout& layout, Value value, Code code) {
  const int half = 1 << (layout.bits - 1);
  double squares = 0;
  for (unsigned i = 0; i < layout.slice; ++i) {
    const double x = value(i);
    squares += x * x;
  }
  const float scale = static_cast<float>(
      squares > 0 ? square_root(static_cast<double>(layout.slice) / (128.0 * squares)) : 0.0);
  double of_codes = 0;
  for (unsigned i = 0; i < layout.slice; ++i) {
    const float unit = value(i) * scale;
    const int above = centroids_below(layout.bits, magnitude(unit));
    const int chosen = unit < 0 ? half - 1 - above : half + above;
    code(i, chosen);
    const double entry = table_entry(layout, static_cast<unsigned>(chosen));
    of_codes += entry * entry;
  }
  return {f16_of_f32(static_cast<float>(square_root(squares / of_codes))), 0};
}

template <typename Value, typename Code>
HEARTH_DEVICE BlockScales encode_values(const KvLayout& layout, Value value, Code code) {
  bool finite = true;
  for (unsigned i = 0; i < layout.slice; ++i)
    finite = finite && bits_of(magnitude(value(i))) < 0x7f800000u;
  if (!finite) {
    for (unsigned i = 0; i < layout.slice; ++i) code(i, 1);
    return {0x7e00, 0x7e00};
  }
  if (layout.family == KvFamily::kTurbo) return encode_turbo(layout, value, code);
  if (layout.family == KvFamily::kTable) return encode_nearest(layout, value, code);
  if (layout.family == KvFamily::kMinimum)
    return encode_with_minimum((1 << layout.bits) - 1, value, code);
  if (layout.bits == 8) return encode_q8(value, code);
  return encode_symmetric(static_cast<int>(layout.offset), value, code);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
