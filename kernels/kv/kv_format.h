// How keys and values lie in memory. Formats of keys and of values are chosen independently.
//
// The cache of one head is a sequence of tiles of 32 positions, the unit in which attention works.
// Keys are stored channel by channel and values position by position, so that 16 lanes of a vector
// are 16 positions of one channel there and 16 channels of one position here, and neither product
// needs a sum across lanes.
//
// Floats (f32, f16, bf16):   keys [dim][32 positions], values [32 positions][dim]
//
// Quantized formats have blocks of 32 channels with the values of the GGUF formats of the same
// names, value = d × (code - offset) or d × code + m. Each block of a tile:
//
//   d       f16 [32 positions]
//   m       f16 [32 positions]                       with minimum
//   fifth   u8 keys [32 positions][4]: bit g for channel 4 g + i     5 bits
//           u32 values [32 positions]: bit c for channel c
//   codes   keys, 8 bits [8 groups][32 positions][4]: channel 4 g + i
//           keys, 4 and 5 bits [4][32 positions][4]: low nibble group g, high nibble group g + 4
//           values, 8 bits [32 positions][32]
//           values, 4 and 5 bits [32 positions][16]: low nibble channel c, high nibble c + 16
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hearth::kernels {

enum class KvFormat : std::uint8_t {
#define KV_FORMAT(Name, text, bits, minimum) k##Name,
#include "kernels/kv/formats.def"
#undef KV_FORMAT
};

enum class KvPart : std::uint8_t { kKeys, kValues };

struct KvFormatTraits {
  KvFormat format;
  std::string_view name;
  std::uint32_t bits;  // of a code; 0: floats
  bool has_minimum;
  constexpr bool quantized() const { return bits > 0; }
};

inline constexpr KvFormatTraits kKvFormats[] = {
#define KV_FORMAT(Name, text, bits, minimum) {KvFormat::k##Name, text, bits, minimum},
#include "kernels/kv/formats.def"
#undef KV_FORMAT
};
inline constexpr std::size_t kKvFormatCount = std::size(kKvFormats);

constexpr const KvFormatTraits& traits(KvFormat format) {
  return kKvFormats[static_cast<std::size_t>(format)];
}
std::optional<KvFormat> parse_kv_format(std::string_view name);

inline constexpr std::uint32_t kKvTile = 32;   // positions
inline constexpr std::uint32_t kKvBlock = 32;  // channels that share a scale

constexpr std::uint32_t kv_float_bytes(KvFormat format) { return format == KvFormat::kF32 ? 4 : 2; }

// Where the parts of a block of a tile begin, in bytes.
struct KvBlockLayout {
  std::uint32_t minima;
  std::uint32_t fifth;
  std::uint32_t codes;
  std::uint32_t bytes;
};
constexpr KvBlockLayout kv_block_layout(KvFormat format) {
  const KvFormatTraits& row = traits(format);
  KvBlockLayout layout{};
  layout.minima = kKvTile * 2;
  layout.fifth = layout.minima + (row.has_minimum ? kKvTile * 2 : 0);
  layout.codes = layout.fifth + (row.bits == 5 ? kKvTile * 4 : 0);
  layout.bytes = layout.codes + kKvTile * kKvBlock * (row.bits == 8 ? 8 : 4) / 8;
  return layout;
}

// Bytes of a tile of one head. Quantized formats need a head size that is a multiple of 32.
constexpr std::uint64_t kv_tile_bytes(KvFormat format, std::uint32_t dim) {
  if (!traits(format).quantized()) return std::uint64_t{kKvTile} * dim * kv_float_bytes(format);
  return std::uint64_t{dim / kKvBlock} * kv_block_layout(format).bytes;
}

// Rotation by Hadamard matrices spreads outliers over a block before it is quantized; queries are
// rotated like keys, outputs back like values. Size of the matrices: for keys the largest power of
// two that divides the head size, for values at most 64 (smaller was found to be better); 1 for
// formats that are not quantized. (llama.cpp pull request 21038.)
std::uint32_t kv_rotation(KvFormat format, KvPart part, std::uint32_t dim);

// One complete tile from 32 rows, already rotated. Quantized formats only.
void encode_tile(KvFormat format, KvPart part, const float* rows, std::uint32_t dim,
                 std::byte* tile);
// Row `position` of a tile of floats, to nearest even.
void store_row(KvFormat format, KvPart part, const float* row, std::uint32_t dim,
               std::uint32_t position, std::byte* tile);
// All 32 rows of a tile as f32: what attention computes with.
void decode_tile(KvFormat format, KvPart part, const std::byte* tile, std::uint32_t dim,
                 float* rows);

}  // namespace hearth::kernels
