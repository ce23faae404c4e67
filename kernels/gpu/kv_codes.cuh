// 32 channels of one position of the cache: as codes, four signed bytes to a word, and as floats.
//
// A code is what is computed with (kv_code_value): its offset is off, its table looked up. Quad g
// is channels 4 g to 4 g + 3. The words of a position lie 32 apart in keys and side by side in
// values; but for planes of one bit their bits are in the same places.
#pragma once

#include "kernels/gpu/kv_layout.h"
#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kQuads = kKvBlock / 4;

struct alignas(16) Float4 {
  float x[4];
};

HEARTH_DEVICE float f16_at(const std::byte* from, std::uint32_t index) {
  return f32_of_f16(reinterpret_cast<const std::uint16_t*>(from)[index]);
}

// The word of 32 channels of a plane of `width` bits, `row` of as many.
HEARTH_DEVICE std::uint32_t plane_at(KvPart part, std::uint32_t width, std::uint32_t position,
                                     std::uint32_t row) {
  return part == KvPart::kKeys ? row * kKvTile + position : position * width + row;
}

// Bits [0, 4) of a nibble to the lowest bits of four bytes.
HEARTH_DEVICE std::uint32_t spread_nibble(std::uint32_t nibble) {
  return (nibble * 0x00204081u) & 0x01010101u;
}
HEARTH_DEVICE std::uint32_t gather_nibble(std::uint32_t bytes) {
  return (bytes & 0x01010101u) * 0x01020408u >> 24;
}

template <unsigned width>
HEARTH_DEVICE void add_plane(KvPart part, const std::byte* plane, std::uint32_t position,
                             unsigned to, std::uint32_t (&quads)[kQuads]) {
  constexpr std::uint32_t kMask = ((1u << width) - 1) * 0x01010101u;
  std::uint32_t words[width];
  for (unsigned row = 0; row < width; ++row)
    words[row] = load_word(plane + 4 * plane_at(part, width, position, row));
  for (unsigned g = 0; g < kQuads; ++g) {
    if (width == 1 && part == KvPart::kValues)
      quads[g] |= spread_nibble(words[0] >> (4 * g) & 15u) << to;
    else
      quads[g] |= (words[g % width] >> (g / width * width) & kMask) << to;
  }
}

template <unsigned width>
HEARTH_DEVICE void store_plane(KvPart part, const std::uint32_t (&quads)[kQuads], unsigned from,
                               std::uint32_t position, std::byte* plane) {
  constexpr std::uint32_t kMask = ((1u << width) - 1) * 0x01010101u;
  std::uint32_t words[width] = {};
  for (unsigned g = 0; g < kQuads; ++g) {
    const std::uint32_t bits = quads[g] >> from & kMask;
    if (width == 1 && part == KvPart::kValues)
      words[0] |= gather_nibble(bits) << (4 * g);
    else
      words[g % width] |= bits << (g / width * width);
  }
  for (unsigned row = 0; row < width; ++row)
    *reinterpret_cast<std::uint32_t*>(plane + 4 * plane_at(part, width, position, row)) =
        words[row];
}

// body(Width<w>, plane, its lowest bit) for the planes of a block at `at`.
template <unsigned bits>
struct Width {
  static constexpr unsigned value = bits;
};
template <typename Byte, typename Body>
HEARTH_DEVICE void for_planes(const KvPlanes& planes, Byte* at, Body body) {
  if (planes.high == 1) body(Width<1>{}, at, planes.low);
  if (planes.high == 2) body(Width<2>{}, at, planes.low);
  Byte* const low = at + KvPlanes::bytes(planes.high);
  if (planes.low == 8) body(Width<8>{}, low, 0u);
  if (planes.low == 4) body(Width<4>{}, low, 0u);
  if (planes.low == 2) body(Width<2>{}, low, 0u);
}

// table[code] of four codes.
HEARTH_DEVICE std::uint32_t looked_up(const std::uint32_t (&table)[4], std::uint32_t codes) {
  const std::uint32_t low = codes & 0x07070707u;
  const std::uint32_t pairs = (low | low >> 4) & 0x00ff00ffu;
  const std::uint32_t selector = (pairs | pairs >> 8) & 0xffffu;
  const std::uint32_t upper = (codes >> 3 & 0x01010101u) * 0xffu;
  return (byte_permute(table[0], table[1], selector) & ~upper) |
         (byte_permute(table[2], table[3], selector) & upper);
}

// Those of `position` (below 32) in a block of codes.
HEARTH_DEVICE void load_codes(const KvLayout& layout, const std::byte* block,
                              std::uint32_t position, std::uint32_t (&quads)[kQuads]) {
  for (std::uint32_t& quad : quads) quad = 0;
  for_planes(layout.planes, block, [&](auto width, const std::byte* plane, unsigned to) {
    add_plane<decltype(width)::value>(layout.part, plane, position, to, quads);
  });
  if (layout.has_table) {
    for (std::uint32_t& quad : quads) quad = looked_up(layout.table, quad);
  } else if (layout.offset > 0) {
    // No byte borrows from the next one: codes have at most 6 bits here.
    const std::uint32_t offsets = layout.offset * 0x01010101u;
    for (std::uint32_t& quad : quads) quad = ((quad | 0x80808080u) - offsets) ^ 0x80808080u;
  }
}

// Codes as they are stored, without their table or offset.
HEARTH_DEVICE void store_codes(const KvLayout& layout, const std::uint32_t (&quads)[kQuads],
                               std::uint32_t position, std::byte* block) {
  for_planes(layout.planes, block, [&](auto width, std::byte* plane, unsigned from) {
    store_plane<decltype(width)::value>(layout.part, quads, from, position, plane);
  });
}

HEARTH_DEVICE float signed_byte(std::uint32_t quad, unsigned i) {
  return static_cast<float>(static_cast<std::int8_t>(quad >> (8 * i)));
}

// Where the 32 channels of a block begin in a stored tile: their slice, and for the 32 positions
// from `position` on (a multiple of 32) their codes.
struct BlockPlace {
  const std::byte* slice;
  const std::byte* codes;
};
HEARTH_DEVICE BlockPlace place_of(const KvLayout& layout, const std::byte* tile,
                                  std::uint32_t position, std::uint32_t block) {
  const std::uint32_t blocks = layout.slice / kKvBlock;
  const std::byte* const slice = tile + std::size_t{block / blocks} * layout.of_slice.bytes;
  const std::uint32_t index = position / kKvTile * blocks + block % blocks;
  return {slice, slice + layout.of_slice.codes + std::size_t{index} * layout.planes.block_bytes()};
}

// Value `index` of a tile of floats.
struct FloatKind {
  std::uint32_t bits = 16;
  bool bf16 = false;
};
HEARTH_DEVICE float float_at(FloatKind kind, const std::byte* tile, std::uint32_t index) {
  if (kind.bits == 32) return reinterpret_cast<const float*>(tile)[index];
  const std::uint16_t bits = reinterpret_cast<const std::uint16_t*>(tile)[index];
  return kind.bf16 ? f32_of_bf16(bits) : f32_of_f16(bits);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
