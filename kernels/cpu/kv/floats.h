// Tiles of f32, f16 and bf16.
#pragma once

#include "kernels/cpu/kv/tile.h"

namespace hearth::kernels {

template <typename Lanes, KvFormat format>
[[gnu::always_inline]] inline Lanes load_floats(const std::byte* tile, std::size_t index) {
  if constexpr (format == KvFormat::kF32)
    return Lanes::load(reinterpret_cast<const float*>(tile) + index, Whole{});
  else if constexpr (format == KvFormat::kF16)
    return Lanes::load_f16(reinterpret_cast<const std::uint16_t*>(tile) + index);
  else
    return Lanes::load_bf16(reinterpret_cast<const std::uint16_t*>(tile) + index);
}

template <typename Lanes, KvFormat format>
struct FloatTiles {
  static constexpr std::size_t kBytes = kv_float_bytes(format);
  static constexpr std::size_t kRowBytes = kKvTile * kBytes;  // of a channel of keys
  // As many lines are asked for as are read, so that none are left to weigh(): memory has to be
  // busy all the time for floats.
  static constexpr std::size_t kLinesAtOnce = 2;
  static constexpr std::size_t kAskedBytes = kLinesAtOnce * kLineBytes;
  static constexpr std::uint32_t kChannels = kAskedBytes / kRowBytes;

  static void score(const std::byte* tile, const TileQueries& queries, float* scores) {
    for_groups<Lanes::kGroup>(queries.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const float* q[n];
      Lanes low[n], high[n];
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        q[i] = queries.values + std::size_t{first + i} * queries.dim;
        low[i] = high[i] = Lanes::broadcast(0);
      });
      LinesAhead ahead = *queries.ahead;
      const std::byte* keys = tile;
      for (std::size_t c = 0; c < queries.dim; c += kChannels, keys += kChannels * kRowBytes) {
        ahead.ask(kLinesAtOnce);
        for_constants<kChannels>([&]<std::uint32_t k>(Count<k>) {
          const Lanes keys_low = load_floats<Lanes, format>(keys, k * kKvTile);
          const Lanes keys_high = load_floats<Lanes, format>(keys, k * kKvTile + kLanes);
          for_constants<n>([&]<std::uint32_t i>(Count<i>) {
            const Lanes value = Lanes::broadcast(q[i][c + k]);
            low[i] = fma(value, keys_low, low[i]);
            high[i] = fma(value, keys_high, high[i]);
          });
        });
      }
      *queries.ahead = ahead;
      const Lanes scale = Lanes::broadcast(queries.scale);
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        float* const to = scores + (first + i) * kKvTile;
        (low[i] * scale).store(to, Whole{});
        (high[i] * scale).store(to + kLanes, Whole{});
      });
    });
  }

  static void add(const std::byte* tile, const TileWeights& weights) {
    std::uint32_t c = 0;
    for (; c + 2 * kLanes <= weights.dim; c += 2 * kLanes) add_channels<2>(tile, weights, c);
    if (c < weights.dim) add_channels<1>(tile, weights, c);
  }

  // Channels [c, c + 16) of 16 positions of a tile of keys, c and positions multiples of 16.
  static void load_keys(const std::byte* tile, std::uint32_t c, std::uint32_t half,
                        Lanes (&keys)[kLanes]) {
    for (std::uint32_t i = 0; i < kLanes; ++i)
      keys[i] = load_floats<Lanes, format>(tile, (c + i) * kKvTile + half * kLanes);
  }

 private:
  // Channels [c, c + 16 × vectors).
  template <std::uint32_t vectors>
  static void add_channels(const std::byte* tile, const TileWeights& weights, std::uint32_t c) {
    // Positions of which these channels are as many bytes as are asked for at once.
    constexpr std::uint32_t kPositions = kAskedBytes / (vectors * kLanes * kBytes);
    for_groups<Lanes::kGroup>(weights.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const std::size_t dim = weights.dim;
      const float* w = weights.weights + first * kKvTile;
      float* const out = weights.outputs + first * dim + c;
      Lanes sums[n][vectors];
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        const Lanes factor = Lanes::broadcast(weights.factors[first + i]);
        for_constants<vectors>([&]<std::uint32_t v>(Count<v>) {
          sums[i][v] = Lanes::load(out + i * dim + v * kLanes, Whole{}) * factor;
        });
      });
      LinesAhead ahead = *weights.ahead;
      const std::byte* from = tile + c * kBytes;
      for (std::uint32_t p = 0; p < kKvTile; p += kPositions, w += kPositions) {
        ahead.ask(kLinesAtOnce);
        for_constants<kPositions>([&]<std::uint32_t k>(Count<k>) {
          Lanes values[vectors];
          for_constants<vectors>([&]<std::uint32_t v>(Count<v>) {
            values[v] = load_floats<Lanes, format>(from, v * kLanes);
          });
          from += dim * kBytes;
          for_constants<n>([&]<std::uint32_t i>(Count<i>) {
            const Lanes weight = Lanes::broadcast(w[i * kKvTile + k]);
            for_constants<vectors>([&]<std::uint32_t v>(Count<v>) {
              sums[i][v] = fma(weight, values[v], sums[i][v]);
            });
          });
        });
      }
      *weights.ahead = ahead;
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        for_constants<vectors>([&]<std::uint32_t v>(Count<v>) {
          sums[i][v].store(out + i * dim + v * kLanes, Whole{});
        });
      });
    });
  }
};

}  // namespace hearth::kernels
