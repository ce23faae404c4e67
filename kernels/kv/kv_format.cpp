#include "kernels/kv/kv_format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/kv/block_codec.h"
#include "kernels/quant/half.h"

namespace hearth::kernels {

std::optional<KvFormat> parse_kv_format(std::string_view name) {
  for (const KvFormatTraits& row : kKvFormats)
    if (row.name == name) return row.format;
  return std::nullopt;
}

std::uint32_t kv_rotation(KvFormat format, KvPart part, std::uint32_t dim) {
  if (!traits(format).quantized()) return 1;
  const std::uint32_t largest = dim & (~dim + 1);
  return part == KvPart::kKeys ? largest : std::min(largest, 64u);
}

namespace {

// The place of value (position, channel) in a tile of floats, in values.
std::size_t float_at(KvPart part, std::uint32_t dim, std::uint32_t position,
                     std::uint32_t channel) {
  return part == KvPart::kKeys ? std::size_t{channel} * kKvTile + position
                               : std::size_t{position} * dim + channel;
}

std::uint16_t bf16_of_f32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A block of a tile, code by code.
class Block {
 public:
  Block(KvFormat format, KvPart part, std::byte* at)
      : traits_(traits(format)), layout_(kv_block_layout(format)), part_(part), at_(at) {}

  void set_scales(std::uint32_t position, std::uint16_t d, std::uint16_t m) {
    std::memcpy(at_ + 2 * position, &d, 2);
    if (traits_.has_minimum) std::memcpy(at_ + layout_.minima + 2 * position, &m, 2);
  }
  float d(std::uint32_t position) const { return half(2 * position); }
  float m(std::uint32_t position) const {
    return traits_.has_minimum ? half(layout_.minima + 2 * position) : 0;
  }

  void set_code(std::uint32_t position, std::uint32_t channel, std::uint8_t code) {
    if (traits_.bits == 8) {
      at_[code_at(position, channel)] = std::byte{code};
      return;
    }
    const int shift = high_nibble(channel) ? 4 : 0;
    std::byte& nibbles = at_[code_at(position, channel)];
    nibbles = (nibbles & std::byte(0xf0 >> shift)) | std::byte((code & 15) << shift);
    if (traits_.bits == 5) {
      const auto [byte, bit] = fifth_at(position, channel);
      at_[byte] = (at_[byte] & ~(std::byte{1} << bit)) | std::byte((code >> 4) << bit);
    }
  }
  std::uint8_t code(std::uint32_t position, std::uint32_t channel) const {
    const int byte = std::to_integer<int>(at_[code_at(position, channel)]);
    if (traits_.bits == 8) return static_cast<std::uint8_t>(byte);
    int code = high_nibble(channel) ? byte >> 4 : byte & 15;
    if (traits_.bits == 5) {
      const auto [at, bit] = fifth_at(position, channel);
      code |= (std::to_integer<int>(at_[at]) >> bit & 1) << 4;
    }
    return static_cast<std::uint8_t>(code);
  }

 private:
  float half(std::size_t offset) const {
    std::uint16_t bits;
    std::memcpy(&bits, at_ + offset, 2);
    return f32_of_f16(bits);
  }
  bool high_nibble(std::uint32_t channel) const { return channel >= kKvBlock / 2; }
  std::size_t code_at(std::uint32_t position, std::uint32_t channel) const {
    const std::uint32_t row = traits_.bits == 8 ? channel : channel % (kKvBlock / 2);
    if (part_ == KvPart::kKeys)
      return layout_.codes + std::size_t{row / 4 * kKvTile + position} * 4 + row % 4;
    return layout_.codes + std::size_t{position} * (traits_.bits == 8 ? 32 : 16) + row;
  }
  struct Bit {
    std::size_t byte;
    int bit;
  };
  Bit fifth_at(std::uint32_t position, std::uint32_t channel) const {
    if (part_ == KvPart::kKeys)
      return {layout_.fifth + std::size_t{position} * 4 + channel % 4,
              static_cast<int>(channel / 4)};
    return {layout_.fifth + std::size_t{position} * 4 + channel / 8, static_cast<int>(channel % 8)};
  }

  const KvFormatTraits& traits_;
  const KvBlockLayout layout_;
  const KvPart part_;
  std::byte* at_;
};

}  // namespace

void encode_tile(KvFormat format, KvPart part, const float* rows, std::uint32_t dim,
                 std::byte* tile) {
  CHECK(traits(format).quantized() && dim % kKvBlock == 0);
  for (std::uint32_t b = 0; b < dim / kKvBlock; ++b) {
    Block block(format, part, tile + std::size_t{b} * kv_block_layout(format).bytes);
    for (std::uint32_t position = 0; position < kKvTile; ++position) {
      const CodedBlock coded =
          encode_block(format, rows + std::size_t{position} * dim + b * kKvBlock);
      block.set_scales(position, coded.d, coded.m);
      for (std::uint32_t c = 0; c < kKvBlock; ++c) block.set_code(position, c, coded.codes[c]);
    }
  }
}

void store_row(KvFormat format, KvPart part, const float* row, std::uint32_t dim,
               std::uint32_t position, std::byte* tile) {
  CHECK(!traits(format).quantized());
  for (std::uint32_t c = 0; c < dim; ++c) {
    std::byte* const to = tile + float_at(part, dim, position, c) * kv_float_bytes(format);
    if (format == KvFormat::kF32) {
      std::memcpy(to, row + c, 4);
    } else {
      const std::uint16_t bits =
          format == KvFormat::kF16 ? f16_of_f32(row[c]) : bf16_of_f32(row[c]);
      std::memcpy(to, &bits, 2);
    }
  }
}

void decode_tile(KvFormat format, KvPart part, const std::byte* tile, std::uint32_t dim,
                 float* rows) {
  for (std::uint32_t position = 0; position < kKvTile; ++position)
    for (std::uint32_t c = 0; c < dim; ++c) {
      float& value = rows[std::size_t{position} * dim + c];
      if (traits(format).quantized()) {
        const Block block(format, part,
                          const_cast<std::byte*>(tile) +
                              std::size_t{c / kKvBlock} * kv_block_layout(format).bytes);
        value = block.d(position) * kv_code_value(format, block.code(position, c % kKvBlock)) +
                block.m(position);
        continue;
      }
      const std::byte* const from =
          tile + float_at(part, dim, position, c) * kv_float_bytes(format);
      if (format == KvFormat::kF32) {
        std::memcpy(&value, from, 4);
        continue;
      }
      std::uint16_t bits;
      std::memcpy(&bits, from, 2);
      value = format == KvFormat::kF16 ? f32_of_f16(bits)
                                       : std::bit_cast<float>(std::uint32_t{bits} << 16);
    }
}

}  // namespace hearth::kernels
