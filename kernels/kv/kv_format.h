// How keys and values lie in memory. Formats of keys and of values are chosen independently.
//
// Attention works in units of 32 positions. The cache of one head is a sequence of stored tiles of
// as many, or of four times as many (KVarN). Keys are stored channel by channel and values position
// by position, codes four of these at a time, so that 16 lanes of a vector are 16 positions there
// and 16 channels here, and neither product needs a sum across lanes.
//
// Floats (f32, f16, bf16):   keys [dim][32 positions], values [32 positions][dim]
//
// Codes of all other formats lie in blocks of 32 channels × 32 positions, each cut into planes of
// 8, 4, 2 or 1 bits: first the high bits (those beyond 4, or beyond 2 of 3), then the low ones. A
// plane of w bits:
//
//   keys    [w rows][32 positions][4]: channel 4 g + i is in byte i of row g mod w, its bits from
//           bit (g / w) w on
//   values  [w rows][32 channels][4]: position g + 8 i is in byte i of row g mod w, its bits from
//           bit (g / w) w on
//
// The four bytes of a lane meet in integer products: those of keys at once, those of values by
// pairs of positions, 16 apart since the weights of a tile are two vectors.
//
// Formats with blocks of GGUF's names, value = d × (code - offset), d × code + m or d ×
// table[code]. A tile has for each block:   d f16 [32 positions], with minimum m f16 [32
// positions], codes
//
// TurboQuant (arXiv 2504.19874; as in llama.cpp's forks, but for the bits): value = d ×
// table[code]. A tile has for each slice of channels:   d f16 [32 positions], codes of its blocks
//
// KVarN: value = (code' × scale + zero) × other, code' = code - half of the codes, in tiles of 128
// positions. Keys have scale and zero for each channel and the other factor for each position,
// values the other way around. A tile has for each slice of channels:
//   scale f16 [channels or 128 positions], zero likewise, other f16 [128 positions or channels],
//   codes of its blocks for positions 0 to 31, then for 32 to 63, ...
// The first 128 positions are never encoded: what all others attend to most stays f16.
//
// A slice has as many channels as the largest power of two up to 128 that divides the head size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hearth::kernels {

enum class KvFormat : std::uint8_t {
#define KV_FORMAT(Name, text, family, bits) k##Name,
#include "kernels/kv/formats.def"
#undef KV_FORMAT
};

enum class KvPart : std::uint8_t { kKeys, kValues };

enum class KvFamily : std::uint8_t { kFloat, kSymmetric, kMinimum, kTable, kTurbo, kKvarn };

// Kernels call some functions of this header with what they only know at run time; a copy that is
// not inlined would be shared by files of different instruction sets (kernels/cpu/lanes.h).
#define HEARTH_KV_INLINE [[gnu::always_inline]] constexpr

inline constexpr std::uint32_t kKvTile = 32;  // positions
inline constexpr std::uint32_t kKvLongestTile = 128;
inline constexpr std::uint32_t kKvBlock = 32;   // channels
inline constexpr std::uint32_t kKvSlice = 128;  // channels, at most

struct KvFormatTraits {
  KvFormat format;
  std::string_view name;
  KvFamily family;
  std::uint32_t bits;  // of a code, or of a float

  HEARTH_KV_INLINE bool quantized() const { return family != KvFamily::kFloat; }
  HEARTH_KV_INLINE bool has_minimum() const { return family == KvFamily::kMinimum; }
  constexpr bool has_table() const {
    return family == KvFamily::kTable || family == KvFamily::kTurbo;
  }
  // What is computed with is the code less this, a table entry, or a code of 8 bits as it is, in
  // two's complement.
  constexpr int code_offset() const {
    const bool centred = family == KvFamily::kSymmetric || family == KvFamily::kKvarn;
    return centred && bits < 8 ? 1 << (bits - 1) : 0;
  }
  constexpr bool signed_codes() const { return has_table() || bits == 8; }
  // Whether a row of keys may have the values as its first channels: one rotation has to do for
  // both, and scales of its own for each block of channels.
  constexpr bool holds_latents() const {
    return family != KvFamily::kTurbo && family != KvFamily::kKvarn;
  }

  // Positions of a stored tile, and how many of the first positions are never encoded.
  HEARTH_KV_INLINE std::uint32_t tile() const {
    return family == KvFamily::kKvarn ? kKvLongestTile : kKvTile;
  }
  HEARTH_KV_INLINE std::uint32_t sink() const { return family == KvFamily::kKvarn ? tile() : 0; }
  // Positions that a context needs beyond the tail for anything to be encoded.
  constexpr std::uint32_t least_context() const { return quantized() ? sink() + tile() : 0; }
  // Channels that share scales, in heads of `dim` channels.
  HEARTH_KV_INLINE std::uint32_t slice(std::uint32_t dim) const {
    if (family != KvFamily::kTurbo && family != KvFamily::kKvarn) return kKvBlock;
    return dim % kKvSlice == 0 ? kKvSlice : dim & (~dim + 1);
  }
};

inline constexpr KvFormatTraits kKvFormats[] = {
#define KV_FORMAT(Name, text, family, bits) {KvFormat::k##Name, text, KvFamily::k##family, bits},
#include "kernels/kv/formats.def"
#undef KV_FORMAT
};
inline constexpr std::size_t kKvFormatCount = std::size(kKvFormats);

HEARTH_KV_INLINE const KvFormatTraits& traits(KvFormat format) {
  return kKvFormats[static_cast<std::size_t>(format)];
}
std::optional<KvFormat> parse_kv_format(std::string_view name);

// The planes of a block of codes, in bits.
struct KvPlanes {
  std::uint32_t low = 0;
  std::uint32_t high = 0;  // 0: there is none
  HEARTH_KV_INLINE static std::uint32_t bytes(std::uint32_t bits) {
    return kKvTile * kKvBlock / 8 * bits;
  }
  // Where the low bits begin in a block, in bytes.
  constexpr std::uint32_t low_at() const { return bytes(high); }
  HEARTH_KV_INLINE std::uint32_t block_bytes() const { return bytes(low + high); }
};
HEARTH_KV_INLINE KvPlanes kv_planes(KvFormat format) {
  const std::uint32_t bits = traits(format).bits;
  const std::uint32_t low = bits >= 8 ? 8 : bits >= 4 ? 4 : 2;
  return {low, bits - low};
}

// Where the parts of a slice begin, in bytes. Of a tile of 32 positions: d (at 0), m, codes. Of
// KVarN: scale (at 0), zero, other, codes.
struct KvSliceLayout {
  std::uint32_t second = 0;
  std::uint32_t third = 0;
  std::uint32_t codes = 0;
  std::uint32_t bytes = 0;
};
HEARTH_KV_INLINE KvSliceLayout kv_slice_layout(KvFormat format, KvPart part,
                                               std::uint32_t channels) {
  const KvFormatTraits& row = traits(format);
  const std::uint32_t blocks = channels / kKvBlock * row.tile() / kKvTile;
  const std::uint32_t codes = blocks * kv_planes(format).block_bytes();
  if (row.family == KvFamily::kKvarn) {
    const std::uint32_t axis = 2 * (part == KvPart::kKeys ? channels : row.tile());
    const std::uint32_t other = 2 * (part == KvPart::kKeys ? row.tile() : channels);
    return {axis, 2 * axis, 2 * axis + other, 2 * axis + other + codes};
  }
  const std::uint32_t scales = kKvTile * (row.has_minimum() ? 4 : 2);
  return {kKvTile * 2, scales, scales, scales + codes};
}

HEARTH_KV_INLINE std::uint32_t kv_float_bytes(KvFormat format) { return traits(format).bits / 8; }

// Bytes of a stored tile of one head. Quantized formats need a head size that is a multiple of 32.
HEARTH_KV_INLINE std::uint64_t kv_tile_bytes(KvFormat format, KvPart part, std::uint32_t dim) {
  if (!traits(format).quantized()) return std::uint64_t{kKvTile} * dim * kv_float_bytes(format);
  const std::uint32_t slice = traits(format).slice(dim);
  return std::uint64_t{dim / slice} * kv_slice_layout(format, part, slice).bytes;
}

// One complete tile from its rows [tile()][dim], already rotated (kernels/kv/rotation.h). Quantized
// formats only. Rows that are not finite make values NaN, so that they reach the logits check.
void encode_tile(KvFormat format, KvPart part, const float* rows, std::uint32_t dim,
                 std::byte* tile);
// Row `position` of a tile of floats, to nearest even.
void store_row(KvFormat format, KvPart part, const float* row, std::uint32_t dim,
               std::uint32_t position, std::byte* tile);
// All rows of a tile as f32: what attention computes with.
void decode_tile(KvFormat format, KvPart part, const std::byte* tile, std::uint32_t dim,
                 float* rows);

#undef HEARTH_KV_INLINE

}  // namespace hearth::kernels
