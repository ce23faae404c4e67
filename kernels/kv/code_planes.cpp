#include "kernels/kv/code_planes.h"

#include <algorithm>

#include "kernels/kv/code_tables.h"

namespace hearth::kernels {
namespace {

// body(byte, position, channel, step) for each byte of a plane of so many bits, which has the codes
// of channels channel, channel + step, ... of a position, the first one in its lowest bits.
template <typename Body>
void for_bytes(KvPart part, std::uint32_t width, Body body) {
  std::size_t byte = 0;
  if (part == KvPart::kKeys) {
    for (std::uint32_t row = 0; row < width; ++row)
      for (std::uint32_t position = 0; position < kKvTile; ++position)
        for (std::uint32_t i = 0; i < 4; ++i) body(byte++, position, 4 * row + i, 4 * width);
    return;
  }
  for (std::uint32_t position = 0; position < kKvTile; ++position)
    for (std::uint32_t i = 0; i < 4 * width; ++i)
      if (width == 1)
        body(byte++, position, 8 * i, 1u);
      else
        body(byte++, position, i, 4 * width);
}

void pack_plane(KvPart part, std::uint32_t width, std::uint32_t from, const std::uint8_t* codes,
                std::size_t stride, std::byte* plane) {
  const std::uint32_t mask = (1u << width) - 1;
  for_bytes(
      part, width,
      [&](std::size_t byte, std::uint32_t position, std::uint32_t channel, std::uint32_t step) {
        const std::uint8_t* const code = codes + position * stride + channel;
        std::uint32_t bits = 0;
        for (std::uint32_t k = 0; k * width < 8; ++k)
          bits |= (std::uint32_t{code[k * step]} >> from & mask) << k * width;
        plane[byte] = static_cast<std::byte>(bits);
      });
}

// Adds the bits of the plane to the codes.
void unpack_plane(KvPart part, std::uint32_t width, std::uint32_t to, const std::byte* plane,
                  std::size_t stride, std::uint8_t* codes) {
  const std::uint32_t mask = (1u << width) - 1;
  for_bytes(
      part, width,
      [&](std::size_t byte, std::uint32_t position, std::uint32_t channel, std::uint32_t step) {
        std::uint8_t* const code = codes + position * stride + channel;
        const auto bits = std::to_integer<std::uint32_t>(plane[byte]);
        for (std::uint32_t k = 0; k * width < 8; ++k)
          code[k * step] =
              static_cast<std::uint8_t>(code[k * step] | (bits >> k * width & mask) << to);
      });
}

}  // namespace

void pack_codes(KvFormat format, KvPart part, const std::uint8_t* codes, std::size_t stride,
                std::byte* block) {
  const KvPlanes planes = kv_planes(format);
  if (planes.high > 0) pack_plane(part, planes.high, planes.low, codes, stride, block);
  pack_plane(part, planes.low, 0, codes, stride, block + planes.low_at());
}

void unpack_codes(KvFormat format, KvPart part, const std::byte* block, std::size_t stride,
                  std::uint8_t* codes) {
  const KvPlanes planes = kv_planes(format);
  for (std::uint32_t p = 0; p < kKvTile; ++p)
    std::fill_n(codes + p * stride, kKvBlock, std::uint8_t{0});
  if (planes.high > 0) unpack_plane(part, planes.high, planes.low, block, stride, codes);
  unpack_plane(part, planes.low, 0, block + planes.low_at(), stride, codes);
}

int kv_code_value(KvFormat format, std::uint8_t code) {
  const KvFormatTraits& row = traits(format);
  if (row.has_table()) return kv_code_table(format)[code];
  if (row.signed_codes()) return static_cast<std::int8_t>(code);
  return code - row.code_offset();
}

}  // namespace hearth::kernels
