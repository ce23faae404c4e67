// Tiles of the quantized formats with blocks of 32 channels.
//
// `Quads` is the integer companion of `Lanes`: 16 positions with four key codes each against four
// codes of a query (kernels/cpu/scalar/quads.h has the meaning of its operations).
#pragma once

#include "kernels/cpu/kv/tile.h"
#include "kernels/quant/iq4_nl.h"

namespace hearth::kernels {

template <typename Lanes, typename Quads, KvFormat format>
struct BlockTiles {
  static constexpr KvBlockLayout kLayout = kv_block_layout(format);
  static constexpr std::uint32_t kBits = traits(format).bits;
  static constexpr bool kMinimum = traits(format).has_minimum;
  static constexpr bool kTable = format == KvFormat::kIQ4_NL;
  static constexpr bool kSigned = kBits == 8 || kTable;
  static constexpr int kOffset = format == KvFormat::kQ4_0 ? 8 : format == KvFormat::kQ5_0 ? 16 : 0;
  static constexpr std::uint32_t kGroups = kKvBlock / 4;

  static void score(const std::byte* tile, const TileQueries& queries, float* scores) {
    for_groups<Lanes::kGroup>(queries.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      Lanes sums[n][2];
      for (std::uint32_t i = 0; i < n; ++i) sums[i][0] = sums[i][1] = Lanes::broadcast(0);
      for (std::uint32_t b = 0; b < queries.dim / kKvBlock; ++b)
        score_block(tile + std::size_t{b} * kLayout.bytes, queries, first, b, sums);
      const Lanes scale = Lanes::broadcast(queries.scale);
      for (std::uint32_t i = 0; i < n; ++i)
        for (std::uint32_t half = 0; half < 2; ++half)
          (sums[i][half] * scale).store(scores + (first + i) * kKvTile + half * kLanes, Whole{});
    });
  }

  static void add(const std::byte* tile, const TileWeights& weights) {
    for (std::uint32_t b = 0; b < weights.dim / kKvBlock; ++b)
      for_groups<Lanes::kGroup>(
          weights.count, [&]<std::uint32_t n>(std::uint32_t first, Count<n> group) {
            add_block(tile + std::size_t{b} * kLayout.bytes, weights, first, b * kKvBlock, group);
          });
  }

 private:
  static const std::uint8_t* bytes(const std::byte* block, std::size_t offset) {
    return reinterpret_cast<const std::uint8_t*>(block) + offset;
  }
  static Lanes halves(const std::byte* block, std::size_t offset) {
    return Lanes::load_f16(reinterpret_cast<const std::uint16_t*>(block + offset));
  }

  // Codes of channels 4 g to 4 g + 3 of 16 positions.
  [[gnu::always_inline]] static Quads key_codes(const std::byte* block, std::uint32_t g,
                                                std::uint32_t half) {
    if constexpr (kBits == 8) {
      return Quads::load(bytes(block, kLayout.codes + (g * kKvTile + half * kLanes) * 4));
    } else {
      const std::uint32_t row = g % (kGroups / 2);
      const Quads packed =
          Quads::load(bytes(block, kLayout.codes + (row * kKvTile + half * kLanes) * 4));
      Quads codes = g < kGroups / 2 ? packed.low_nibbles() : packed.high_nibbles();
      if constexpr (kBits == 5)
        codes = codes.with_fifth(Quads::load(bytes(block, kLayout.fifth + half * kLanes * 4)), g);
      if constexpr (kTable) codes = codes.looked_up(kIq4Values);
      return codes;
    }
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void score_block(const std::byte* block, const TileQueries& queries,
                                                 std::uint32_t first, std::uint32_t b,
                                                 Lanes (&sums)[n][2]) {
    const std::size_t dim = queries.dim;
    for (std::uint32_t half = 0; half < 2; ++half) {
      typename Quads::Sums dots[n];
      for (std::uint32_t i = 0; i < n; ++i) dots[i] = Quads::zero();
      for (std::uint32_t g = 0; g < kGroups; ++g) {
        if (const std::size_t line = (half * kGroups + g) * 64; line < kLayout.bytes)
          prefetch_ahead(block + line, dim / kKvBlock * kLayout.bytes);
        const Quads codes = key_codes(block, g, half);
        for (std::uint32_t i = 0; i < n; ++i)
          dots[i] = codes.template plus_dot<kSigned>(
              dots[i], queries.codes + (first + i) * dim + b * kKvBlock + 4 * g);
      }
      const Lanes d = halves(block, half * kLanes * 2);
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::int16_t* const sum = queries.sums + (first + i) * (dim / 16) + 2 * b;
        const float scale = queries.scales[(first + i) * (dim / kKvBlock) + b];
        const int of_query = sum[0] + sum[1];
        const int above = (kSigned ? Quads::kSignedOffset : kOffset) * of_query;
        sums[i][half] = fma(Quads::template as_floats<Lanes>(dots[i], above),
                            d * Lanes::broadcast(scale), sums[i][half]);
        if constexpr (kMinimum)
          sums[i][half] =
              fma(halves(block, kLayout.minima + half * kLanes * 2),
                  Lanes::broadcast(static_cast<float>(of_query) * scale), sums[i][half]);
      }
    }
  }

  // Channels [16 half, 16 half + 16) of one position, as the values that d is multiplied with.
  [[gnu::always_inline]] static Lanes value_codes(const std::byte* block, std::uint32_t position,
                                                  std::uint32_t half) {
    if constexpr (kBits == 8) {
      return Quads::template from_i8<Lanes>(
          bytes(block, kLayout.codes + position * kKvBlock + half * kLanes));
    } else {
      const std::uint8_t* const packed = bytes(block, kLayout.codes + position * kKvBlock / 2);
      if constexpr (kTable) return Quads::template from_table<Lanes>(packed, half, kIq4Values);
      std::uint32_t fifth = 0;
      if constexpr (kBits == 5) {
        __builtin_memcpy(&fifth, bytes(block, kLayout.fifth + position * 4), 4);
        fifth >>= 16 * half;
      }
      return Quads::template from_nibbles < Lanes, kBits == 5 > (packed, half, fifth, kOffset);
    }
  }

  template <std::uint32_t n>
  [[gnu::always_inline]] static void add_block(const std::byte* block, const TileWeights& weights,
                                               std::uint32_t first, std::uint32_t channel,
                                               Count<n>) {
    alignas(64) float scaled[n][kKvTile];
    Lanes sums[n][2];
    const Lanes d[2] = {halves(block, 0), halves(block, kLanes * 2)};
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
      if (p * 64 < kLayout.bytes)
        prefetch_ahead(block + p * 64, weights.dim / kKvBlock * kLayout.bytes);
      for (std::uint32_t half = 0; half < 2; ++half) {
        const Lanes codes = value_codes(block, p, half);
        for (std::uint32_t i = 0; i < n; ++i)
          sums[i][half] = fma(Lanes::broadcast(scaled[i][p]), codes, sums[i][half]);
      }
    }
    for (std::uint32_t i = 0; i < n; ++i) {
      if constexpr (kMinimum) {
        const float* const w = weights.weights + (first + i) * kKvTile;
        const Lanes products =
            fma(Lanes::load(w + kLanes, Whole{}), halves(block, kLayout.minima + kLanes * 2),
                Lanes::load(w, Whole{}) * halves(block, kLayout.minima));
        const Lanes minimum = Lanes::broadcast(products.sum());
        for (Lanes& sum : sums[i]) sum = sum + minimum;
      }
      for (std::uint32_t half = 0; half < 2; ++half)
        sums[i][half].store(out + i * weights.dim + half * kLanes, Whole{});
    }
  }
};

}  // namespace hearth::kernels
