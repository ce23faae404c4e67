#include "kernels/kv/block_codec.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quant/half.h"
#include "kernels/quant/iq4_nl.h"

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

}  // namespace

CodedBlock encode_block(KvFormat format, const float* values) {
  for (std::uint32_t i = 0; i < kKvBlock; ++i)
    if (!std::isfinite(values[i])) {
      CodedBlock block{.d = kNanHalf, .m = kNanHalf};
      std::fill_n(block.codes, kKvBlock, std::uint8_t{1});
      return block;
    }
  switch (format) {
    case KvFormat::kQ8_0:
      return encode_q8(values);
    case KvFormat::kQ5_0:
      return encode_symmetric(values, 16);
    case KvFormat::kQ5_1:
      return encode_with_minimum(values, 31);
    case KvFormat::kQ4_0:
      return encode_symmetric(values, 8);
    case KvFormat::kQ4_1:
      return encode_with_minimum(values, 15);
    default:
      return encode_iq4_nl(values);
  }
}

int kv_code_value(KvFormat format, std::uint8_t code) {
  switch (format) {
    case KvFormat::kQ8_0:
      return static_cast<std::int8_t>(code);
    case KvFormat::kQ5_0:
      return code - 16;
    case KvFormat::kQ4_0:
      return code - 8;
    case KvFormat::kIQ4_NL:
      return kIq4Values[code];
    default:
      return code;
  }
}

}  // namespace hearth::kernels
