// What a function that reads 32 positions of the cache is given: the queries that meet them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/lanes.h"

namespace hearth::kernels {

inline constexpr std::size_t kLineBytes = 64;  // of the caches

// The lines of 32 positions that are read after these: of the next tile where the first cache is
// asked for them, of the third one where the second is. A few are asked for at a time while this
// tile is computed, since many at once would wait for one another and memory be idle later. Past
// the last tile of a cache they are lines that nobody reads.
class LinesAhead {
 public:
  LinesAhead() = default;  // none
  LinesAhead(const std::byte* positions, std::size_t bytes, bool into_first_cache)
      : next_(reinterpret_cast<std::uintptr_t>(positions) + (into_first_cache ? 1 : 3) * bytes),
        end_(next_ + bytes),
        into_first_cache_(into_first_cache) {}

  std::size_t left() const { return (end_ - next_ + kLineBytes - 1) / kLineBytes; }
  // Of `bytes` of keys that are met, as many lines as are asked for meanwhile, the others being
  // left to the softmax. With a half instead of a quarter q8_0 took 3 % longer from memory where
  // the second cache is asked, and 5 % less where the first is.
  std::size_t lines_with_keys(std::size_t bytes) const {
    return bytes / kLineBytes / (into_first_cache_ ? 2 : 4);
  }
  [[gnu::always_inline]] void ask(std::size_t lines) {
    const std::uintptr_t last = next_ + lines * kLineBytes, end = last < end_ ? last : end_;
    if (into_first_cache_)
      for (; next_ < end; next_ += kLineBytes) prefetch<3>(next_);
    else
      for (; next_ < end; next_ += kLineBytes) prefetch<2>(next_);
  }

 private:
  template <int locality>
  [[gnu::always_inline]] static void prefetch(std::uintptr_t line) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), 0, locality);
  }

  std::uintptr_t next_ = 0, end_ = 0;
  bool into_first_cache_ = false;
};

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
  LinesAhead* ahead;         // what is left of them is asked for as scores become weights
};
// scores[count][32]
using ScoreTile = void (*)(const std::byte* tile, const TileQueries& queries, float* scores);

struct TileWeights {
  std::uint32_t count;
  std::uint32_t dim;
  std::uint32_t position;
  const float* weights;  // [count][32]
  const float* gains;    // [count]: of weights that meet codes; 16 can be read from each
  const float* factors;  // [count]: of the outputs before
  float* outputs;        // [count][dim]
  LinesAhead* ahead;
};
// Copies field by field. A copy made of vectors would wait until the caller's stores of the fields
// have left for the cache, behind everything before them, and all that is computed with it as well.
[[gnu::always_inline]] inline TileWeights copy_of(const TileWeights& weights) {
  const auto field = [](auto value) {
    asm("" : "+r"(value));  // else g++ makes vectors of neighbours
    return value;
  };
  return {.count = field(weights.count),
          .dim = field(weights.dim),
          .position = field(weights.position),
          .weights = field(weights.weights),
          .gains = field(weights.gains),
          .factors = field(weights.factors),
          .outputs = field(weights.outputs),
          .ahead = field(weights.ahead)};
}
using AddTile = void (*)(const std::byte* tile, const TileWeights& weights);
// Prepares queries [begin, end) of the task for a stored tile of keys, in its `folded`.
using FoldQueries = void (*)(const std::byte* tile, const AttentionTask& task, std::uint32_t begin,
                             std::uint32_t end);

template <std::uint32_t n>
struct Count {
  static constexpr std::uint32_t value = n;
};
// body(Count<i>{}) for i = 0, ... count - 1. Arrays of vectors that are to stay in registers are
// walked so: of a loop that zeroes them g++ makes a memset, and keeps them in memory from then on.
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
