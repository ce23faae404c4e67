// Tiles of KVarN: 128 positions, of which attention takes 32 at a time.
#pragma once

#include "kernels/cpu/kv/codes.h"

namespace hearth::kernels {

template <typename Lanes, typename Integers, KvFormat format>
struct KvarnTiles {
  using Codes = BlockCodes<Integers, format>;
  using Quads = typename Integers::Quads;
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

  static void score(const std::byte* tile, const TileQueries& queries, float* scores) {
    const std::uint32_t channels = traits(format).slice(queries.dim);
    const KvSliceLayout layout = kv_slice_layout(format, KvPart::kKeys, channels);
    const Lanes scale = Lanes::broadcast(queries.scale);
    for_groups<Lanes::kGroup>(queries.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      for (std::uint32_t half = 0; half < 2; ++half) {
        Lanes sums[n];
        for (std::uint32_t i = 0; i < n; ++i) sums[i] = Lanes::broadcast(0);
        const std::byte* slice = tile;
        for (std::uint32_t c = 0; c < queries.dim; c += channels, slice += layout.bytes)
          score_slice(slice, layout, channels, queries, first, half, c, sums);
        for (std::uint32_t i = 0; i < n; ++i)
          (sums[i] * scale).store(scores + (first + i) * kKvTile + half * kLanes, Whole{});
      }
    });
  }

  static void add(const std::byte* tile, const TileWeights& weights) {
    const std::uint32_t channels = traits(format).slice(weights.dim);
    const KvSliceLayout layout = kv_slice_layout(format, KvPart::kValues, channels);
    const std::byte* slice = tile;
    for (std::uint32_t c = 0; c < weights.dim; c += channels, slice += layout.bytes) {
      const std::byte* const codes = slice + codes_at(layout, channels, weights.position);
      for (std::uint32_t b = 0; b < channels / kKvBlock; ++b)
        for_groups<Lanes::kGroup>(weights.count, [&]<std::uint32_t n>(std::uint32_t first,
                                                                      Count<n> group) {
          add_block(slice, layout, codes + b * kBlockBytes, weights, first, c, b * kKvBlock, group);
        });
    }
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
                                                 std::uint32_t first, std::uint32_t half,
                                                 std::uint32_t channel, Lanes (&sums)[n]) {
    const std::size_t dim = queries.dim;
    const std::byte* block = slice + codes_at(layout, channels, queries.position);
    Lanes of_slice[n];
    for (std::uint32_t i = 0; i < n; ++i)
      of_slice[i] = Lanes::broadcast(queries.zeros[((first + i) * dim + channel) / channels]);
    for (std::uint32_t b = channel / kKvBlock; b < (channel + channels) / kKvBlock;
         ++b, block += kBlockBytes) {
      typename Quads::Sums dots[n];
      for (std::uint32_t i = 0; i < n; ++i) dots[i] = Quads::zero();
      add_dots<Codes>(block, half, queries.codes + first * dim + b * kKvBlock, dim,
                      channels / kKvBlock * kBlockBytes, dots);
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::int16_t* const sum = queries.sums + (first + i) * (dim / 16) + 2 * b;
        const float scale = queries.scales[(first + i) * (dim / kKvBlock) + b];
        of_slice[i] = fma(Quads::template as_floats<Lanes>(dots[i], Codes::above(sum[0] + sum[1])),
                          Lanes::broadcast(scale), of_slice[i]);
      }
    }
    const Lanes other =
        load_halves<Lanes>(slice + layout.third + 2 * (queries.position + half * kLanes));
    for (std::uint32_t i = 0; i < n; ++i) sums[i] = fma(other, of_slice[i], sums[i]);
  }

  // Channels [within, within + 32) of the slice that begins at channel `channel`.
  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_block(const std::byte* slice, const KvSliceLayout& layout,
                                               const std::byte* block, const TileWeights& weights,
                                               std::uint32_t first, std::uint32_t channel,
                                               std::uint32_t within, Count<n>) {
    alignas(64) float scaled[n][kKvTile];
    Lanes sums[n][2];
    const std::byte* const scales = slice + 2 * weights.position;
    const Lanes scale[2] = {load_halves<Lanes>(scales), load_halves<Lanes>(scales + 2 * kLanes)};
    for (std::uint32_t i = 0; i < n; ++i)
      for (std::uint32_t half = 0; half < 2; ++half) {
        const Lanes w =
            Lanes::load(weights.weights + (first + i) * kKvTile + half * kLanes, Whole{});
        (w * scale[half]).store(scaled[i] + half * kLanes, Whole{});
        sums[i][half] = Lanes::broadcast(0);
      }
    for (std::uint32_t p = 0; p < kKvTile; ++p)
      for (std::uint32_t half = 0; half < 2; ++half) {
        const Lanes codes = Codes::template values<Lanes>(block, p, half);
        for (std::uint32_t i = 0; i < n; ++i)
          sums[i][half] = fma(Lanes::broadcast(scaled[i][p]), codes, sums[i][half]);
      }
    const std::byte* const zeros = slice + layout.second + 2 * weights.position;
    const std::byte* const others = slice + layout.third + 2 * within;
    for (std::uint32_t i = 0; i < n; ++i) {
      const Lanes zero = Lanes::broadcast(weighted_sum(weights.weights + (first + i) * kKvTile,
                                                       load_halves<Lanes>(zeros),
                                                       load_halves<Lanes>(zeros + 2 * kLanes)));
      const Lanes factor = Lanes::broadcast(weights.factors[first + i]);
      float* const out = weights.outputs + std::size_t{first + i} * weights.dim + channel + within;
      for (std::uint32_t half = 0; half < 2; ++half)
        fma(load_halves<Lanes>(others + 2 * half * kLanes), sums[i][half] + zero,
            Lanes::load(out + half * kLanes, Whole{}) * factor)
            .store(out + half * kLanes, Whole{});
    }
  }
};

}  // namespace hearth::kernels
