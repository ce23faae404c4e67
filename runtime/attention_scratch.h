// What one worker needs for a task of attention, and for a tile of the cache to be encoded.
#pragma once

#include <cstdint>
#include <span>

#include "base/units.h"
#include "kernels/attention.h"

namespace hearth::runtime {

// Rows of a step whose chunks may be computed side by side: a token, and a few drafted ones. What
// their chunks leave lies in scratch.
inline constexpr std::uint32_t kSideBySideRows = 4;

// Memory is owned by whoever gave the span.
struct AttentionScratch {
  static Bytes bytes_needed(std::uint32_t key_dim, std::uint32_t value_dim);
  AttentionScratch() = default;
  AttentionScratch(std::span<std::byte> memory, std::uint32_t key_dim, std::uint32_t value_dim);

  // Of kMaxAttentionQueries queries.
  std::span<float> queries;                                           // [queries][key_dim]
  std::span<std::int8_t> codes;                                       // likewise
  std::span<float> scales;                                            // [queries][key_dim / 32]
  std::span<std::int16_t> sums;                                       // [queries][key_dim / 16]
  std::span<std::uint32_t> first, end, encoded_keys, encoded_values;  // [queries]
  // kernels::FoldedQueries, for keys that want them.
  std::span<std::int8_t> folded_codes;
  std::span<float> folded_scales, zeros;
  std::span<std::int16_t> folded_sums;
  kernels::AttentionState merged, one;  // of the chunks so far, of the next one
  std::span<float> tile;                // [kKvLongestTile][key_dim or value_dim]

  // While chunks are computed side by side: the tile of queries that is gathered here, and the end
  // of its chunks that were merged here, from the first on.
  static constexpr std::uint32_t kNoTile = 0xffffffff;
  std::uint32_t gathered = kNoTile;
  std::uint32_t merged_end = 0;
};

}  // namespace hearth::runtime
