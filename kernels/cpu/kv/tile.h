// What a function that reads 32 positions of the cache is given: the queries that meet them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/lanes.h"

namespace hearth::kernels {

struct TileQueries {
  std::uint32_t count;
  std::uint32_t dim;
  std::uint32_t position;  // the first one, in the stored tile
  float scale;
  const float* values;       // [count][dim]
  const std::int8_t* codes;  // [count][dim]
  const float* scales;       // [count][dim / 32]
  const std::int16_t* sums;  // [count][dim / 16]
  const float* zeros;        // [count][slices]: only where queries are folded
};
// scores[count][32]
using ScoreTile = void (*)(const std::byte* tile, const TileQueries& queries, float* scores);

struct TileWeights {
  std::uint32_t count;
  std::uint32_t dim;
  std::uint32_t position;
  const float* weights;  // [count][32]
  const float* factors;  // [count]: of the outputs before
  float* outputs;        // [count][dim]
};
using AddTile = void (*)(const std::byte* tile, const TileWeights& weights);
// Prepares queries [begin, end) of the task for a stored tile of keys, in its `folded`.
using FoldQueries = void (*)(const std::byte* tile, const AttentionTask& task, std::uint32_t begin,
                             std::uint32_t end);

// Asks the second cache for a line of the third tile from here on, which follows in memory, while
// this one is computed: line by line, since all at once would wait for one another. Past the last
// tile of a cache it is a line that nobody reads.
[[gnu::always_inline]] inline void prefetch_ahead(const std::byte* at, std::size_t tile_bytes) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) + 3 * tile_bytes), 0, 2);
}

template <std::uint32_t n>
struct Count {
  static constexpr std::uint32_t value = n;
};
// body(Count<i>{}) for i = 0, ... count - 1.
template <std::uint32_t count, std::uint32_t i = 0, typename Body>
[[gnu::always_inline]] inline void for_constants(Body body) {
  if constexpr (i < count) {
    body(Count<i>{});
    for_constants<count, i + 1>(body);
  }
}
// body(first, Count<n>{}) over all of `count`, in groups of kGroup, then of smaller powers of two:
// a group's accumulators stay in registers.
template <std::uint32_t kGroup, typename Body>
[[gnu::always_inline]] inline void for_groups(std::uint32_t count, Body body,
                                              std::uint32_t first = 0) {
  for (; first + kGroup <= count; first += kGroup) body(first, Count<kGroup>{});
  if constexpr (kGroup > 1) {
    if (first < count) for_groups<kGroup / 2>(count, body, first);
  }
}

}  // namespace hearth::kernels
