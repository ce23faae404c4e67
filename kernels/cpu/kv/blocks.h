// Tiles of the quantized formats with one scale for each position and slice of channels.
#pragma once

#include "kernels/cpu/kv/codes.h"

namespace hearth::kernels {

template <typename Lanes, typename Quads, KvFormat format>
struct BlockTiles {
  using Codes = BlockCodes<Quads, format>;
  static constexpr bool kMinimum = traits(format).has_minimum();
  static constexpr std::uint32_t kBlockBytes = kv_planes(format).block_bytes();
  static constexpr std::uint32_t kScaleBytes = kKvTile * 2;  // of a slice's d, and of its m
  // Asked for with each block of keys, a quarter of its lines: with half of them q8_0 took 3 %
  // longer from memory.
  static constexpr std::size_t kScoreLines = kBlockBytes / kLineBytes / 4;
  // Of keys as of values.
  [[gnu::always_inline]] static KvSliceLayout layout(std::uint32_t channels) {
    return kv_slice_layout(format, KvPart::kKeys, channels);
  }

  static void score(const std::byte* tile, const TileQueries& queries, float* scores) {
    const std::uint32_t channels = traits(format).slice(queries.dim);
    const KvSliceLayout of_slice = layout(channels);
    for_groups<Lanes::kGroup>(queries.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      Lanes sums[n][2];
      for (std::uint32_t i = 0; i < n; ++i) sums[i][0] = sums[i][1] = Lanes::broadcast(0);
      const QueryBlocks<Codes, n> blocks(queries, first);
      const std::byte* slice = tile;
      for (std::uint32_t c = 0; c < queries.dim; c += channels, slice += of_slice.bytes)
        for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
          score_block(slice, slice + of_slice.codes + b * kBlockBytes, queries, blocks, first,
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
    LargestScales<Lanes> largest;
    for (const std::byte* slice = tile; slice < tile + tile_bytes; slice += of_slice.bytes)
      largest.add({scales(slice, 0), scales(slice, 1)});
    for_groups<Lanes::kGroup>(weights.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      CodedWeights<Lanes, Quads, n> coded(weights.weights + first * kKvTile, largest);
      const std::byte* slice = tile;
      for (std::uint32_t c = 0; c < weights.dim; c += channels, slice += of_slice.bytes) {
        coded.meet({scales(slice, 0), scales(slice, 1)});
        for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
          add_block(slice, slice + of_slice.codes + b * kBlockBytes, weights, coded, first,
                    c + b * kKvBlock);
      }
    });
  }

  // Channels [c, c + 16) of 16 positions of a tile of keys, as decode_tile() gives them: d × code
  // is exact where m is added.
  static void load_keys(const std::byte* tile, std::uint32_t c, std::uint32_t half,
                        Lanes (&keys)[kLanes]) {
    static_assert(traits(format).holds_latents());
    const KvSliceLayout of_slice = layout(kKvBlock);
    const std::byte* const slice = tile + std::size_t{c / kKvBlock} * of_slice.bytes;
    const std::byte* const block = slice + of_slice.codes;
    if (c % kKvBlock == 0)
      load_codes<0>(block, half, keys);
    else
      load_codes<kLanes / 4>(block, half, keys);
    const Lanes d = scales(slice, half);
    for (Lanes& key : keys) {
      key = d * key;
      if constexpr (kMinimum) key = key + minima(slice, half);
    }
  }

 private:
  // What is computed with, of the 16 channels from 4 × `first` on.
  template <std::uint32_t first>
  [[gnu::always_inline]] static void load_codes(const std::byte* block, std::uint32_t half,
                                                Lanes (&keys)[kLanes]) {
    const Lanes offset = Lanes::broadcast(static_cast<float>(traits(format).code_offset()));
    for_constants<kLanes / 4>([&]<std::uint32_t g>(Count<g>) {
      const Quads codes = Codes::template quads<first + g>(block, half);
      for (std::uint32_t i = 0; i < 4; ++i)
        keys[4 * g + i] = codes.template channel<Lanes, traits(format).signed_codes()>(i) - offset;
    });
  }
  // d or m of the positions of one half.
  [[gnu::always_inline]] static Lanes scales(const std::byte* slice, std::uint32_t half) {
    return load_halves<Lanes>(slice + half * kLanes * 2);
  }
  [[gnu::always_inline]] static Lanes minima(const std::byte* slice, std::uint32_t half) {
    return load_halves<Lanes>(slice + kScaleBytes + half * kLanes * 2);
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void score_block(const std::byte* slice, const std::byte* block,
                                                 const TileQueries& queries,
                                                 const QueryBlocks<Codes, n>& blocks,
                                                 std::uint32_t first, std::uint32_t b,
                                                 Lanes (&sums)[n][2]) {
    const std::size_t dim = queries.dim, count = dim / kKvBlock;
    typename Quads::Sums dots[2][n];
    for (std::uint32_t i = 0; i < n; ++i)
      dots[0][i] = dots[1][i] = Quads::all(blocks.begin[i * count + b]);
    queries.ahead->ask(kScoreLines);
    add_dots<Codes>(block, 0, queries.codes + first * dim + b * kKvBlock, dim, dots);
    for (std::uint32_t half = 0; half < 2; ++half) {
      const Lanes d = scales(slice, half);
      for (std::uint32_t i = 0; i < n; ++i) {
        const float scale = queries.scales[(first + i) * count + b];
        sums[i][half] = fma(Quads::template as_floats<Lanes>(dots[half][i]),
                            d * Lanes::broadcast(scale), sums[i][half]);
        if constexpr (kMinimum)
          sums[i][half] =
              fma(minima(slice, half), Lanes::broadcast(blocks.sums[i * count + b]), sums[i][half]);
      }
    }
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_block(const std::byte* slice, const std::byte* block,
                                               const TileWeights& weights,
                                               const CodedWeights<Lanes, Quads, n>& coded,
                                               std::uint32_t first, std::uint32_t channel) {
    [[maybe_unused]] float minimum[n];
    if constexpr (kMinimum)
      for (std::uint32_t i = 0; i < n; ++i)
        minimum[i] = weighted_sum(weights.weights + (first + i) * kKvTile, minima(slice, 0),
                                  minima(slice, 1));
    typename Quads::Sums sums[2][n];
    coded.template multiply<Codes>(block, *weights.ahead, sums);
    for (std::uint32_t half = 0; half < 2; ++half) {
      float* const out =
          weights.outputs + std::size_t{first} * weights.dim + channel + half * kLanes;
      for (std::uint32_t i = 0; i < n; ++i) {
        Lanes sum = Lanes::load(out + i * weights.dim, Whole{}) *
                    Lanes::broadcast(weights.factors[first + i]);
        sum = fma(Quads::template as_floats<Lanes>(sums[half][i]),
                  Lanes::broadcast(coded.scales[i]), sum);
        if constexpr (kMinimum) sum = sum + Lanes::broadcast(minimum[i]);
        sum.store(out + i * weights.dim, Whole{});
      }
    }
  }
};

}  // namespace hearth::kernels
