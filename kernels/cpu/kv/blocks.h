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
  // Of keys as of values.
  [[gnu::always_inline]] static KvSliceLayout layout(std::uint32_t channels) {
    return kv_slice_layout(format, KvPart::kKeys, channels);
  }

  static void score(const std::byte* tile, const TileQueries& all, float* scores) {
    for_groups<Lanes::kGroup>(all.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const TileQueries queries = all;  // what is stored here is then known to be no part of it
      const std::uint32_t channels = traits(format).slice(queries.dim);
      const KvSliceLayout of_slice = layout(channels);
      Lanes sums[n][2];
      for_constants<n>(
          [&]<std::uint32_t i>(Count<i>) { sums[i][0] = sums[i][1] = Lanes::broadcast(0); });
      const QueryBlocks<Codes, n> blocks(queries, first);
      LinesAhead ahead = *queries.ahead;
      const std::size_t lines = ahead.lines_with_keys(kBlockBytes);
      const std::byte* slice = tile;
      for (std::uint32_t c = 0; c < queries.dim; c += channels, slice += of_slice.bytes)
        for (std::uint32_t b = 0; b < channels / kKvBlock; ++b) {
          ahead.ask(lines);
          score_block(slice, slice + of_slice.codes + b * kBlockBytes, queries, blocks, first,
                      c / kKvBlock + b, sums);
        }
      *queries.ahead = ahead;
      const Lanes scale = Lanes::broadcast(queries.scale);
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        for_constants<2>([&]<std::uint32_t half>(Count<half>) {
          (sums[i][half] * scale).store(scores + (first + i) * kKvTile + half * kLanes, Whole{});
        });
      });
    });
  }

  static void add(const std::byte* tile, const TileWeights& all) {
    LargestScale<Lanes> largest;
    for_slices(tile, all.dim, [&](const std::byte* slice, std::uint32_t) {
      largest.add({scales(slice, 0), scales(slice, 1)});
    });
    for_groups<Lanes::kGroup>(all.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const TileWeights weights = copy_of(all);
      CodedWeights<Lanes, Quads, n> coded(weights.weights + first * kKvTile, weights.gains + first,
                                          largest);
      for_slices(tile, weights.dim, [&](const std::byte* slice, std::uint32_t number) {
        coded.meet(number, {scales(slice, 0), scales(slice, 1)});
      });
      LinesAhead ahead = *weights.ahead;
      const std::uint32_t channels = traits(format).slice(weights.dim);
      for_slices(tile, weights.dim, [&](const std::byte* slice, std::uint32_t number) {
        const std::byte* block = slice + layout(channels).codes;
        for (std::uint32_t c = 0; c < channels; c += kKvBlock, block += kBlockBytes)
          add_block(slice, number, block, weights, coded, first, number * channels + c, ahead);
      });
      *weights.ahead = ahead;
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
  // body(slice, its number) over the slices of a tile.
  template <typename Body>
  [[gnu::always_inline]] static void for_slices(const std::byte* tile, std::uint32_t dim,
                                                Body body) {
    const std::uint32_t channels = traits(format).slice(dim), slices = dim / channels;
    for (std::uint32_t i = 0; i < slices; ++i, tile += layout(channels).bytes) body(tile, i);
  }

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
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      dots[0][i] = dots[1][i] = Quads::all(blocks.begin[i * count + b]);
    });
    add_dots<Codes>(block, 0, queries.codes + first * dim + b * kKvBlock, dim, dots);
    const Lanes d[2] = {scales(slice, 0), scales(slice, 1)};
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      const Lanes scale = Lanes::broadcast(queries.scales[(first + i) * count + b]);
      for_constants<2>([&]<std::uint32_t half>(Count<half>) {
        sums[i][half] =
            fma(Quads::template as_floats<Lanes>(dots[half][i]), d[half] * scale, sums[i][half]);
        if constexpr (kMinimum)
          sums[i][half] =
              fma(minima(slice, half), Lanes::broadcast(blocks.sums[i * count + b]), sums[i][half]);
      });
    });
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_block(const std::byte* slice, std::uint32_t number,
                                               const std::byte* block, const TileWeights& weights,
                                               const CodedWeights<Lanes, Quads, n>& coded,
                                               std::uint32_t first, std::uint32_t channel,
                                               LinesAhead& ahead) {
    [[maybe_unused]] float minimum[kLanes];
    if constexpr (kMinimum)
      weighted_sums<n>(weights.weights + first * kKvTile, weights.gains + first, minima(slice, 0),
                       minima(slice, 1))
          .store(minimum, Whole{});
    typename Quads::Sums sums[2][n];
    coded.template multiply<Codes>(number, block, ahead, sums);
    float* const out = weights.outputs + std::size_t{first} * weights.dim + channel;
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      float* const of_query = out + i * weights.dim;
      const Lanes factor = Lanes::broadcast(weights.factors[first + i]);
      for_constants<2>([&]<std::uint32_t half>(Count<half>) {
        Lanes sum = Lanes::load(of_query + half * kLanes, Whole{}) * factor;
        sum = fma(Quads::template as_floats<Lanes>(sums[half][i]), Lanes::broadcast(coded.scale(i)),
                  sum);
        if constexpr (kMinimum) sum = sum + Lanes::broadcast(minimum[i]);
        sum.store(of_query + half * kLanes, Whole{});
      });
    });
  }
};

}  // namespace hearth::kernels
