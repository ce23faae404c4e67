#include "kernels/kv/block_codec.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/kv/code_tables.h"
#include "kernels/quant/half.h"

namespace hearth::kernels {
namespace {

constexpr std::uint16_t kNanHalf = 0x7e00;

std::uint8_t rounded(float value, int lowest, int highest) {
  return static_cast<std::uint8_t>(
      std::clamp(static_cast<int>(std::nearbyint(value)), lowest, highest));
}

float inverse(float d) { return d == 0 ? 0.0f : 1 / d; }

// d = amax / 127, code = x / d.
CodedBlock encode_q8(const float* values) {
  float largest = 0;
  for (std::uint32_t i = 0; i < kKvBlock; ++i) largest = std::max(largest, std::abs(values[i]));
  const float d = largest / 127;
  CodedBlock block{.d = f16_of_f32(d)};
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    block.codes[i] = rounded(values[i] * inverse(d), -127, 127);
  return block;
}

// d = -(the value of largest magnitude) / offset: it gets code 0 exactly, the range the other way
// ends half a step earlier.
CodedBlock encode_symmetric(const float* values, int offset) {
  float extreme = 0;
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    if (std::abs(values[i]) > std::abs(extreme)) extreme = values[i];
  const float d = extreme / static_cast<float>(-offset);
  CodedBlock block{.d = f16_of_f32(d)};
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    block.codes[i] =
        rounded(values[i] * inverse(d) + static_cast<float>(offset), 0, 2 * offset - 1);
  return block;
}

// d = (largest - least) / highest code, m = least.
CodedBlock encode_with_minimum(const float* values, int highest) {
  const auto [least, most] = std::minmax_element(values, values + kKvBlock);
  const float d = (*most - *least) / static_cast<float>(highest);
  CodedBlock block{.d = f16_of_f32(d), .m = f16_of_f32(*least)};
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    block.codes[i] = rounded((values[i] - *least) * inverse(d), 0, highest);
  return block;
}

std::uint8_t nearest_iq4(float value) {
  int best = 0;
  for (int i = 1; i < 16; ++i)
    if (std::abs(value - static_cast<float>(kIq4Values[i])) <
        std::abs(value - static_cast<float>(kIq4Values[best])))
      best = i;
  return static_cast<std::uint8_t>(best);
}

// Codes for the scale that makes the extreme value -127, then the scale that fits these codes best:
// least squares weighted by x squared, as ggml weighs it.
CodedBlock encode_iq4_nl(const float* values) {
  float extreme = 0;
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    if (std::abs(values[i]) > std::abs(extreme)) extreme = values[i];
  const float first = extreme / static_cast<float>(kIq4Values[0]);
  CodedBlock block;
  double products = 0, squares = 0;
  for (std::uint32_t i = 0; i < kKvBlock; ++i) {
    block.codes[i] = nearest_iq4(values[i] * inverse(first));
    const double weight = static_cast<double>(values[i]) * values[i];
    const double entry = kIq4Values[block.codes[i]];
    products += weight * entry * values[i];
    squares += weight * entry * entry;
  }
  block.d = f16_of_f32(squares > 0 ? static_cast<float>(products / squares) : 0.0f);
  return block;
}

// Between the Lloyd-Max centroids of the normal distribution with variance 1 / 128, above 0.
std::span<const float> turbo_limits(std::uint32_t bits) {
  static constexpr float kOf2[] = {.086728f};
  static constexpr float kOf3[] = {.043589f, .091775f, .154259f};
  static constexpr float kOf4[] = {.022832f, .046190f, .070693f, .097191f,
                                   .127056f, .162977f, .212231f};
  if (bits == 2) return kOf2;
  if (bits == 3) return kOf3;
  return kOf4;
}

// The nearest centroid of each value of the vector scaled to unit length, then the d that gives
// what is decoded the length of the vector.
CodedBlock encode_turbo(KvFormat format, const float* values, std::uint32_t n) {
  const std::span<const float> limits = turbo_limits(traits(format).bits);
  const int half = 1 << (traits(format).bits - 1);
  double squares = 0;
  for (std::uint32_t i = 0; i < n; ++i) squares += static_cast<double>(values[i]) * values[i];
  // Of vectors of n channels: the limits are those of 128.
  const auto scale = static_cast<float>(squares > 0 ? std::sqrt(n / (128.0 * squares)) : 0.0);
  CodedBlock block;
  double of_codes = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const float unit = values[i] * scale;
    int above = 0;
    for (const float limit : limits) above += std::abs(unit) > limit ? 1 : 0;
    block.codes[i] = static_cast<std::uint8_t>(unit < 0 ? half - 1 - above : half + above);
    const double entry = kv_code_table(format)[block.codes[i]];
    of_codes += entry * entry;
  }
  block.d = f16_of_f32(static_cast<float>(std::sqrt(squares / of_codes)));
  return block;
}

}  // namespace

CodedBlock encode_block(KvFormat format, const float* values, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i)
    if (!std::isfinite(values[i])) {
      CodedBlock block{.d = kNanHalf, .m = kNanHalf};
      std::fill_n(block.codes, n, std::uint8_t{1});
      return block;
    }
  const KvFormatTraits& row = traits(format);
  switch (row.family) {
    case KvFamily::kTurbo:
      return encode_turbo(format, values, n);
    case KvFamily::kTable:
      return encode_iq4_nl(values);
    case KvFamily::kMinimum:
      return encode_with_minimum(values, (1 << row.bits) - 1);
    default:
      return row.bits == 8 ? encode_q8(values) : encode_symmetric(values, row.code_offset());
  }
}

}  // namespace hearth::kernels
