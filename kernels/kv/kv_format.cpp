#include "kernels/kv/kv_format.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/kv/block_codec.h"
#include "kernels/kv/code_planes.h"
#include "kernels/kv/kvarn_codec.h"
#include "kernels/quant/half.h"

namespace hearth::kernels {

std::optional<KvFormat> parse_kv_format(std::string_view name) {
  for (const KvFormatTraits& row : kKvFormats)
    if (row.name == name) return row.format;
  return std::nullopt;
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

float decode_float(KvFormat format, const std::byte* from) {
  if (format == KvFormat::kF32) {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, from, 2);
  return format == KvFormat::kF16 ? f32_of_f16(bits)
                                  : std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// A slice of the formats with one scale for each position: [32 positions][stride] rows.
void encode_slice(KvFormat format, KvPart part, const float* rows, std::uint32_t channels,
                  std::uint32_t stride, std::byte* slice) {
  const KvSliceLayout layout = kv_slice_layout(format, part, channels);
  std::uint8_t codes[kKvTile * kKvSlice];
  for (std::uint32_t p = 0; p < kKvTile; ++p) {
    const CodedBlock coded = encode_block(format, rows + std::size_t{p} * stride, channels);
    std::memcpy(slice + 2 * p, &coded.d, 2);
    if (traits(format).has_minimum()) std::memcpy(slice + layout.second + 2 * p, &coded.m, 2);
    std::memcpy(codes + p * channels, coded.codes, channels);
  }
  for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
    pack_codes(format, part, codes + b * kKvBlock, channels,
               slice + layout.codes + b * kv_planes(format).block_bytes());
}

void decode_slice(KvFormat format, KvPart part, const std::byte* slice, std::uint32_t channels,
                  std::uint32_t stride, float* rows) {
  const KvSliceLayout layout = kv_slice_layout(format, part, channels);
  std::uint8_t codes[kKvTile * kKvSlice];
  for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
    unpack_codes(format, part, slice + layout.codes + b * kv_planes(format).block_bytes(), channels,
                 codes + b * kKvBlock);
  for (std::uint32_t p = 0; p < kKvTile; ++p) {
    const float d = decode_float(KvFormat::kF16, slice + 2 * p);
    const float m = traits(format).has_minimum()
                        ? decode_float(KvFormat::kF16, slice + layout.second + 2 * p)
                        : 0;
    for (std::uint32_t c = 0; c < channels; ++c)
      rows[std::size_t{p} * stride + c] =
          d * static_cast<float>(kv_code_value(format, codes[p * channels + c])) + m;
  }
}

}  // namespace

void encode_tile(KvFormat format, KvPart part, const float* rows, std::uint32_t dim,
                 std::byte* tile) {
  CHECK(traits(format).quantized() && dim % kKvBlock == 0);
  const std::uint32_t slice = traits(format).slice(dim);
  const auto encode = traits(format).family == KvFamily::kKvarn ? encode_kvarn : encode_slice;
  for (std::uint32_t c = 0; c < dim; c += slice, tile += kv_slice_layout(format, part, slice).bytes)
    encode(format, part, rows + c, slice, dim, tile);
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
  if (!traits(format).quantized()) {
    for (std::uint32_t p = 0; p < kKvTile; ++p)
      for (std::uint32_t c = 0; c < dim; ++c)
        rows[std::size_t{p} * dim + c] =
            decode_float(format, tile + float_at(part, dim, p, c) * kv_float_bytes(format));
    return;
  }
  const std::uint32_t slice = traits(format).slice(dim);
  const auto decode = traits(format).family == KvFamily::kKvarn ? decode_kvarn : decode_slice;
  for (std::uint32_t c = 0; c < dim; c += slice, tile += kv_slice_layout(format, part, slice).bytes)
    decode(format, part, tile, slice, dim, rows + c);
}

}  // namespace hearth::kernels
