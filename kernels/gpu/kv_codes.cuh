// Codes of the cache, four signed bytes to a word: four of 32 channels of a position of keys, four
// of 32 positions of a channel of values (kernels/kv/kv_format.h has the layout). A thread has one
// of the 32 lanes of a block, so that a warp reads whole lines.
//
// A code is what is computed with (kv_code_value): its offset is off, its table looked up. Quad g
// of keys is channels 4 g to 4 g + 3, of values positions g, g + 8, g + 16 and g + 24.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kQuads = kKvBlock / 4;

struct alignas(16) Float4 {
  float x[4];
};

HEARTH_DEVICE float f16_at(const std::byte* from, std::uint32_t index) {
  return f32_of_f16(load_half(from + 2 * std::size_t{index}));
}

template <unsigned width>
HEARTH_DEVICE void add_plane(const std::byte* plane, std::uint32_t lane, unsigned to,
                             std::uint32_t (&quads)[kQuads]) {
  constexpr std::uint32_t kMask = ((1u << width) - 1) * 0x01010101u;
  std::uint32_t rows[width];
  for (unsigned row = 0; row < width; ++row)
    rows[row] = load_word(plane + 4 * (row * kKvTile + lane));
  for (unsigned g = 0; g < kQuads; ++g)
    quads[g] |= (rows[g % width] >> (g / width * width) & kMask) << to;
}

template <unsigned width>
HEARTH_DEVICE void store_plane(const std::uint32_t (&quads)[kQuads], unsigned from,
                               std::uint32_t lane, std::byte* plane) {
  constexpr std::uint32_t kMask = ((1u << width) - 1) * 0x01010101u;
  std::uint32_t rows[width] = {};
  for (unsigned g = 0; g < kQuads; ++g)
    rows[g % width] |= (quads[g] >> from & kMask) << (g / width * width);
  auto* const words = reinterpret_cast<std::uint32_t*>(plane);
  for (unsigned row = 0; row < width; ++row) words[row * kKvTile + lane] = rows[row];
}

// body(Width<w>, plane, the bit of codes that it begins with) for the planes of a block at `at`.
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

HEARTH_DEVICE void load_codes(const KvLayout& layout, const std::byte* block, std::uint32_t lane,
                              std::uint32_t (&quads)[kQuads]) {
  for (std::uint32_t& quad : quads) quad = 0;
  for_planes(layout.planes, block, [&](auto width, const std::byte* plane, unsigned to) {
    add_plane<decltype(width)::value>(plane, lane, to, quads);
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
                               std::uint32_t lane, std::byte* block) {
  for_planes(layout.planes, block, [&](auto width, std::byte* plane, unsigned from) {
    store_plane<decltype(width)::value>(quads, from, lane, plane);
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
struct AsF32 {};
struct AsF16 {};
struct AsBf16 {};
HEARTH_DEVICE float float_at(AsF32, const std::byte* tile, std::uint32_t index) {
  return float_of(load_word(tile + 4 * std::size_t{index}));
}
HEARTH_DEVICE float float_at(AsF16, const std::byte* tile, std::uint32_t index) {
  return f16_at(tile, index);
}
HEARTH_DEVICE float float_at(AsBf16, const std::byte* tile, std::uint32_t index) {
  return f32_of_bf16(load_half(tile + 2 * std::size_t{index}));
}
// body(kind) with the kind that is read: outside of loops, so that their loads are not branches.
template <typename Body>
HEARTH_DEVICE void with_kind(const KvLayout& layout, bool in_format, Body body) {
  if (!in_format || (layout.bits == 16 && !layout.bf16))
    body(AsF16{});
  else if (layout.bits == 32)
    body(AsF32{});
  else
    body(AsBf16{});
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
