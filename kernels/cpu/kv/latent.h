// Values that are the first channels of the keys, as in multi-head latent attention (DeepSeek-AI
// 2024): one tile, stored channel by channel as keys are, serves both products.
//
// 32 channels at a time become rows of positions in 4 KiB on the stack, and meet all queries there.
// With the 16 to 64 queries of a task that turning costs little beside the products.
#pragma once

#include "kernels/cpu/kv/tile.h"

namespace hearth::kernels {

template <typename Lanes, typename Tiles>
struct LatentTiles {
  static void add(const std::byte* tile, const TileWeights& weights) {
    std::uint32_t c = 0;
    for (; c + 2 * kLanes <= weights.dim; c += 2 * kLanes) add_channels<2>(tile, weights, c);
    if (c < weights.dim) add_channels<1>(tile, weights, c);
  }

 private:
  // Channels [c, c + 16 × vectors).
  template <std::uint32_t vectors>
  static void add_channels(const std::byte* tile, const TileWeights& weights, std::uint32_t c) {
    alignas(64) float rows[kKvTile][vectors * kLanes];
    for (std::uint32_t half = 0; half < 2; ++half)
      for (std::uint32_t v = 0; v < vectors; ++v) {
        Lanes keys[kLanes];
        Tiles::load_keys(tile, c + v * kLanes, half, keys);
        transpose(keys);
        for (std::uint32_t p = 0; p < kLanes; ++p)
          keys[p].store(rows[half * kLanes + p] + v * kLanes, Whole{});
      }
    for_groups<Lanes::kGroup>(weights.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const float* const w = weights.weights + first * kKvTile;
      float* const out = weights.outputs + std::size_t{first} * weights.dim + c;
      Lanes sums[n][vectors];
      for (std::uint32_t i = 0; i < n; ++i)
        for (std::uint32_t v = 0; v < vectors; ++v)
          sums[i][v] = Lanes::load(out + i * weights.dim + v * kLanes, Whole{}) *
                       Lanes::broadcast(weights.factors[first + i]);
      for (std::uint32_t p = 0; p < kKvTile; ++p) {
        Lanes values[vectors];
        for (std::uint32_t v = 0; v < vectors; ++v)
          values[v] = Lanes::load(rows[p] + v * kLanes, Whole{});
        for (std::uint32_t i = 0; i < n; ++i) {
          const Lanes weight = Lanes::broadcast(w[i * kKvTile + p]);
          for (std::uint32_t v = 0; v < vectors; ++v)
            sums[i][v] = fma(weight, values[v], sums[i][v]);
        }
      }
      for (std::uint32_t i = 0; i < n; ++i)
        for (std::uint32_t v = 0; v < vectors; ++v)
          sums[i][v].store(out + i * weights.dim + v * kLanes, Whole{});
    });
  }
};

}  // namespace hearth::kernels
