#include "kernels/kv/code_planes.h"

#include <algorithm>

#include "kernels/kv/code_tables.h"

namespace hearth::kernels {
namespace {

// Where the codes of a block are: from one of the 32 of a row of bytes to the next, from one of the
// four bytes there to the next, and from row to row.
struct Strides {
  std::size_t lane, byte, row;
  Strides(KvPart part, std::size_t of_position)
      : lane(part == KvPart::kKeys ? of_position : 1),
        byte(part == KvPart::kKeys ? 1 : 8 * of_position),
        row(part == KvPart::kKeys ? 4 : of_position) {}
};

// body(byte, first, step) for each byte of a plane of so many bits, which has the codes first,
// first + step, ... of the block, the first one in its lowest bits.
template <typename Body>
void for_bytes(Strides strides, std::uint32_t width, Body body) {
  std::size_t byte = 0;
  for (std::uint32_t row = 0; row < width; ++row)
    for (std::uint32_t lane = 0; lane < kKvTile; ++lane)
      for (std::uint32_t i = 0; i < 4; ++i)
        body(byte++, row * strides.row + lane * strides.lane + i * strides.byte,
             width * strides.row);
}

void pack_plane(Strides strides, std::uint32_t width, std::uint32_t from, const std::uint8_t* codes,
                std::byte* plane) {
  const std::uint32_t mask = (1u << width) - 1;
  for_bytes(strides, width, [&](std::size_t byte, std::size_t first, std::size_t step) {
    std::uint32_t bits = 0;
    for (std::uint32_t k = 0; k * width < 8; ++k)
      bits |= (std::uint32_t{codes[first + k * step]} >> from & mask) << k * width;
    plane[byte] = static_cast<std::byte>(bits);
  });
}

// Adds the bits of the plane to the codes.
void unpack_plane(Strides strides, std::uint32_t width, std::uint32_t to, const std::byte* plane,
                  std::uint8_t* codes) {
  const std::uint32_t mask = (1u << width) - 1;
  for_bytes(strides, width, [&](std::size_t byte, std::size_t first, std::size_t step) {
    const auto bits = std::to_integer<std::uint32_t>(plane[byte]);
    for (std::uint32_t k = 0; k * width < 8; ++k) {
      std::uint8_t& code = codes[first + k * step];
      code = static_cast<std::uint8_t>(code | (bits >> k * width & mask) << to);
    }
  });
}

}  // namespace

void pack_codes(KvFormat format, KvPart part, const std::uint8_t* codes, std::size_t stride,
                std::byte* block) {
  const KvPlanes planes = kv_planes(format);
  const Strides strides(part, stride);
  if (planes.high > 0) pack_plane(strides, planes.high, planes.low, codes, block);
  pack_plane(strides, planes.low, 0, codes, block + planes.low_at());
}

void unpack_codes(KvFormat format, KvPart part, const std::byte* block, std::size_t stride,
                  std::uint8_t* codes) {
  const KvPlanes planes = kv_planes(format);
  for (std::uint32_t p = 0; p < kKvTile; ++p)
    std::fill_n(codes + p * stride, kKvBlock, std::uint8_t{0});
  const Strides strides(part, stride);
  if (planes.high > 0) unpack_plane(strides, planes.high, planes.low, block, codes);
  unpack_plane(strides, planes.low, 0, block + planes.low_at(), codes);
}

int kv_code_value(KvFormat format, std::uint8_t code) {
  const KvFormatTraits& row = traits(format);
  if (row.has_table()) return kv_code_table(format)[code];
  if (row.signed_codes()) return static_cast<std::int8_t>(code);
  return code - row.code_offset();
}

}  // namespace hearth::kernels
