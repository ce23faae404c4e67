// Tiles of KVarN: 128 positions, of which attention takes 32 at a time.
#pragma once

#include "kernels/cpu/kv/codes.h"

namespace hearth::kernels {

template <typename Lanes, typename Quads, KvFormat format>
struct KvarnTiles {
  using Codes = BlockCodes<Quads, format>;
  static constexpr std::uint32_t kBlockBytes = kv_planes(format).block_bytes();

  static void fold(const std::byte* tile, const AttentionTask& task, std::uint32_t begin,
                   std::uint32_t end) {
    const std::uint32_t channels = traits(format).slice(task.key_dim);
    const KvSliceLayout layout = kv_slice_layout(format, KvPart::kKeys, channels);
    for (std::uint32_t i = begin; i < end; ++i) {
      const std::byte* slice = tile;
      for (std::uint32_t c = 0; c < task.key_dim; c += channels, slice += layout.bytes)
        task.folded.zeros[(i * task.key_dim + c) / channels] =
            fold_slice(slice, layout, task, std::size_t{i} * task.key_dim + c, channels);
    }
  }

  static void score(const std::byte* tile, const TileQueries& all, float* scores) {
    for_groups<Lanes::kGroup>(all.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const TileQueries queries = all;  // what is stored here is then known to be no part of it
      const std::uint32_t channels = traits(format).slice(queries.dim);
      const KvSliceLayout layout = kv_slice_layout(format, KvPart::kKeys, channels);
      const Lanes scale = Lanes::broadcast(queries.scale);
      const QueryBlocks<Codes, n> blocks(queries, first);
      for (std::uint32_t half = 0; half < 2; ++half) {
        Lanes sums[n];
        for_constants<n>([&]<std::uint32_t i>(Count<i>) { sums[i] = Lanes::broadcast(0); });
        const std::byte* slice = tile;
        for (std::uint32_t c = 0; c < queries.dim; c += channels, slice += layout.bytes)
          score_slice(slice, layout, channels, queries, blocks, first, half, c, sums);
        for_constants<n>([&]<std::uint32_t i>(Count<i>) {
          (sums[i] * scale).store(scores + (first + i) * kKvTile + half * kLanes, Whole{});
        });
      }
    });
  }

  static void add(const std::byte* tile, const TileWeights& all) {
    const std::uint32_t channels = traits(format).slice(all.dim);
    const KvSliceLayout layout = kv_slice_layout(format, KvPart::kValues, channels);
    LargestScale<Lanes> largest;
    const std::byte* slice = tile;
    for (std::uint32_t c = 0; c < all.dim; c += channels, slice += layout.bytes)
      largest.add({at_positions(slice, all, 0), at_positions(slice, all, 1)});
    for_groups<Lanes::kGroup>(all.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      const TileWeights weights = copy_of(all);
      CodedWeights<Lanes, Quads, n> coded(weights.weights + first * kKvTile, weights.gains + first,
                                          largest);
      slice = tile;
      for (std::uint32_t c = 0; c < weights.dim; c += channels, slice += layout.bytes)
        coded.meet(c / channels,
                   {at_positions(slice, weights, 0), at_positions(slice, weights, 1)});
      slice = tile;
      for (std::uint32_t c = 0; c < weights.dim; c += channels, slice += layout.bytes)
        add_slice(slice, layout, channels, weights, coded, first, c);
    });
  }

 private:
  // Where the codes of the 32 positions from `position` on begin.
  [[gnu::always_inline]] static std::size_t codes_at(const KvSliceLayout& layout,
                                                     std::uint32_t channels,
                                                     std::uint32_t position) {
    return layout.codes + std::size_t{position / kKvTile} * (channels / kKvBlock) * kBlockBytes;
  }

  // One query's channels of a slice, from `at` on. Returns the sum of its products with the zeros.
  static float fold_slice(const std::byte* slice, const KvSliceLayout& layout,
                          const AttentionTask& task, std::size_t at, std::uint32_t channels) {
    alignas(64) float scaled[kKvSlice];
    Lanes zeros = Lanes::broadcast(0);
    for (std::uint32_t c = 0; c < channels; c += kLanes) {
      const Lanes query = Lanes::load(task.values + at + c, Whole{});
      (query * load_halves<Lanes>(slice + 2 * c)).store(scaled + c, Whole{});
      zeros = fma(query, load_halves<Lanes>(slice + layout.second + 2 * c), zeros);
    }
    const FoldedQueries& folded = task.folded;
    folded.quantize(scaled, channels, folded.codes + at, folded.scales + at / kKvBlock,
                    folded.sums + at / 16);
    return zeros.sum();
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void score_slice(const std::byte* slice,
                                                 const KvSliceLayout& layout,
                                                 std::uint32_t channels, const TileQueries& queries,
                                                 const QueryBlocks<Codes, n>& blocks,
                                                 std::uint32_t first, std::uint32_t half,
                                                 std::uint32_t channel, Lanes (&sums)[n]) {
    const std::size_t dim = queries.dim, count = dim / kKvBlock;
    const std::byte* block = slice + codes_at(layout, channels, queries.position);
    Lanes of_slice[n];
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      of_slice[i] = Lanes::broadcast(queries.zeros[((first + i) * dim + channel) / channels]);
    });
    for (std::uint32_t b = channel / kKvBlock; b < (channel + channels) / kKvBlock;
         ++b, block += kBlockBytes) {
      typename Quads::Sums dots[1][n];
      for_constants<n>(
          [&]<std::uint32_t i>(Count<i>) { dots[0][i] = Quads::all(blocks.begin[i * count + b]); });
      if (half == 0) queries.ahead->ask(kBlockBytes / kLineBytes / 4);
      add_dots<Codes>(block, half, queries.codes + first * dim + b * kKvBlock, dim, dots);
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        of_slice[i] = fma(Quads::template as_floats<Lanes>(dots[0][i]),
                          Lanes::broadcast(queries.scales[(first + i) * count + b]), of_slice[i]);
      });
    }
    const Lanes other =
        load_halves<Lanes>(slice + layout.third + 2 * (queries.position + half * kLanes));
    for_constants<n>(
        [&]<std::uint32_t i>(Count<i>) { sums[i] = fma(other, of_slice[i], sums[i]); });
  }

  // Scales, or zeros from a part on, of the tile's positions of one half.
  [[gnu::always_inline]] static Lanes at_positions(const std::byte* part,
                                                   const TileWeights& weights, std::uint32_t half) {
    return load_halves<Lanes>(part + 2 * (weights.position + half * kLanes));
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_slice(const std::byte* slice, const KvSliceLayout& layout,
                                               std::uint32_t channels, const TileWeights& weights,
                                               const CodedWeights<Lanes, Quads, n>& coded,
                                               std::uint32_t first, std::uint32_t channel) {
    const std::byte* const zeros = slice + layout.second;
    float of_zeros[kLanes];
    weighted_sums<n>(weights.weights + first * kKvTile, weights.gains + first,
                     at_positions(zeros, weights, 0), at_positions(zeros, weights, 1))
        .store(of_zeros, Whole{});
    const std::byte* block = slice + codes_at(layout, channels, weights.position);
    const std::uint32_t number = channel / channels;
    LinesAhead ahead = *weights.ahead;
    for (std::uint32_t c = 0; c < channels; c += kKvBlock, block += kBlockBytes) {
      typename Quads::Sums sums[2][n];
      coded.template multiply<Codes>(number, block, ahead, sums);
      for_constants<2>([&]<std::uint32_t half>(Count<half>) {
        const std::uint32_t within = c + half * kLanes;
        const Lanes other = load_halves<Lanes>(slice + layout.third + 2 * within);
        float* const out = weights.outputs + std::size_t{first} * weights.dim + channel + within;
        for_constants<n>([&]<std::uint32_t i>(Count<i>) {
          const Lanes sum = fma(Quads::template as_floats<Lanes>(sums[half][i]),
                                Lanes::broadcast(coded.scale(i)), Lanes::broadcast(of_zeros[i]));
          const Lanes before = Lanes::load(out + i * weights.dim, Whole{}) *
                               Lanes::broadcast(weights.factors[first + i]);
          fma(other, sum, before).store(out + i * weights.dim, Whole{});
        });
      });
    }
    *weights.ahead = ahead;
  }
};

}  // namespace hearth::kernels
