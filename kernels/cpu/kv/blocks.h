// Tiles of the quantized formats with one scale for each position and slice of channels.
#pragma once

#include "kernels/cpu/kv/codes.h"

namespace hearth::kernels {

template <typename Lanes, typename Integers, KvFormat format>
struct BlockTiles {
  using Codes = BlockCodes<Integers, format>;
  using Quads = typename Integers::Quads;
  static constexpr bool kMinimum = traits(format).has_minimum();
  static constexpr std::uint32_t kBlockBytes = kv_planes(format).block_bytes();
  static constexpr std::uint32_t kScaleBytes = kKvTile * 2;  // of a slice's d, and of its m
  // Of keys as of values.
  [[gnu::always_inline]] static KvSliceLayout layout(std::uint32_t channels) {
    return kv_slice_layout(format, KvPart::kKeys, channels);
  }

  static void score(const std::byte* tile, const TileQueries& queries, float* scores) {
    const std::uint32_t channels = traits(format).slice(queries.dim);
    const KvSliceLayout of_slice = layout(channels);
    const std::size_t tile_bytes = std::size_t{queries.dim / channels} * of_slice.bytes;
    for_groups<Lanes::kGroup>(queries.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      Lanes sums[n][2];
      for (std::uint32_t i = 0; i < n; ++i) sums[i][0] = sums[i][1] = Lanes::broadcast(0);
      const std::byte* slice = tile;
      for (std::uint32_t c = 0; c < queries.dim; c += channels, slice += of_slice.bytes)
        for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
          score_block(slice, slice + of_slice.codes + b * kBlockBytes, tile_bytes, queries, first,
                      c / kKvBlock + b, sums);
      const Lanes scale = Lanes::broadcast(queries.scale);
      for (std::uint32_t i = 0; i < n; ++i)
        for (std::uint32_t half = 0; half < 2; ++half)
          (sums[i][half] * scale).store(scores + (first + i) * kKvTile + half * kLanes, Whole{});
    });
  }

  static void add(const std::byte* tile, const TileWeights& weights) {
    const std::uint32_t channels = traits(format).slice(weights.dim);
    const KvSliceLayout of_slice = layout(channels);
    const std::size_t tile_bytes = std::size_t{weights.dim / channels} * of_slice.bytes;
    const std::byte* slice = tile;
    for (std::uint32_t c = 0; c < weights.dim; c += channels, slice += of_slice.bytes)
      for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
        for_groups<Lanes::kGroup>(weights.count,
                                  [&]<std::uint32_t n>(std::uint32_t first, Count<n> group) {
                                    add_block(slice, slice + of_slice.codes + b * kBlockBytes,
                                              tile_bytes, weights, first, c + b * kKvBlock, group);
                                  });
  }

 private:
  // d or m of the positions of one half.
  [[gnu::always_inline]] static Lanes scales(const std::byte* slice, std::uint32_t half) {
    return load_halves<Lanes>(slice + half * kLanes * 2);
  }
  [[gnu::always_inline]] static Lanes minima(const std::byte* slice, std::uint32_t half) {
    return load_halves<Lanes>(slice + kScaleBytes + half * kLanes * 2);
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void score_block(const std::byte* slice, const std::byte* block,
                                                 std::size_t tile_bytes, const TileQueries& queries,
                                                 std::uint32_t first, std::uint32_t b,
                                                 Lanes (&sums)[n][2]) {
    const std::size_t dim = queries.dim;
    for (std::uint32_t half = 0; half < 2; ++half) {
      typename Quads::Sums dots[n];
      for (std::uint32_t i = 0; i < n; ++i) dots[i] = Quads::zero();
      if (half == 0 || kMinimum) prefetch_ahead(slice + half * kScaleBytes, tile_bytes);
      add_dots<Codes>(block, half, queries.codes + first * dim + b * kKvBlock, dim, tile_bytes,
                      dots);
      const Lanes d = scales(slice, half);
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::int16_t* const sum = queries.sums + (first + i) * (dim / 16) + 2 * b;
        const float scale = queries.scales[(first + i) * (dim / kKvBlock) + b];
        const int of_query = sum[0] + sum[1];
        sums[i][half] = fma(Quads::template as_floats<Lanes>(dots[i], Codes::above(of_query)),
                            d * Lanes::broadcast(scale), sums[i][half]);
        if constexpr (kMinimum)
          sums[i][half] =
              fma(minima(slice, half), Lanes::broadcast(static_cast<float>(of_query) * scale),
                  sums[i][half]);
      }
    }
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_block(const std::byte* slice, const std::byte* block,
                                               std::size_t tile_bytes, const TileWeights& weights,
                                               std::uint32_t first, std::uint32_t channel,
                                               Count<n>) {
    alignas(64) float scaled[n][kKvTile];
    Lanes sums[n][2];
    const Lanes d[2] = {scales(slice, 0), scales(slice, 1)};
    float* const out = weights.outputs + std::size_t{first} * weights.dim + channel;
    for (std::uint32_t i = 0; i < n; ++i)
      for (std::uint32_t half = 0; half < 2; ++half) {
        const Lanes w =
            Lanes::load(weights.weights + (first + i) * kKvTile + half * kLanes, Whole{});
        (w * d[half]).store(scaled[i] + half * kLanes, Whole{});
        sums[i][half] = Lanes::load(out + i * weights.dim + half * kLanes, Whole{}) *
                        Lanes::broadcast(weights.factors[first + i]);
      }
    for (std::uint32_t p = 0; p < kKvTile; ++p) {
      if (p * kLineBytes < kBlockBytes) prefetch_ahead(block + p * kLineBytes, tile_bytes);
      for (std::uint32_t half = 0; half < 2; ++half) {
        const Lanes codes = Codes::template values<Lanes>(block, p, half);
        for (std::uint32_t i = 0; i < n; ++i)
          sums[i][half] = fma(Lanes::broadcast(scaled[i][p]), codes, sums[i][half]);
      }
    }
    for (std::uint32_t i = 0; i < n; ++i) {
      if constexpr (kMinimum) {
        const float* const w = weights.weights + (first + i) * kKvTile;
        const Lanes minimum = Lanes::broadcast(weighted_sum(w, minima(slice, 0), minima(slice, 1)));
        for (Lanes& sum : sums[i]) sum = sum + minimum;
      }
      for (std::uint32_t half = 0; half < 2; ++half)
        sums[i][half].store(out + i * weights.dim + half * kLanes, Whole{});
    }
  }
};

}  // namespace hearth::kernels
