// Codes of a block of 32 channels × 32 positions, read by vectors from their planes
// (kernels/kv/kv_format.h has the layout), and the products of whole blocks.
//
// `Quads`, the integer companion of `Lanes`, is four codes for each of 16 lanes: keys have
// positions in the lanes and four channels there, values the other way around
// (kernels/cpu/scalar/quads.h has the meaning of the operations).
#pragma once

#include "kernels/cpu/kv/tile.h"
#include "kernels/kv/code_tables.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kQuadGroups = kKvBlock / 4;

template <typename Quads, KvFormat format>
struct BlockCodes {
  static constexpr KvPlanes kPlanes = kv_planes(format);
  static constexpr KvFormatTraits kTraits = traits(format);
  static constexpr const std::int8_t (&kTable)[16] = kv_code_table(format);

  // Numbers 4 g to 4 g + 3 of 16 lanes: channels of positions, or positions of channels.
  template <std::uint32_t g>
  [[gnu::always_inline]] static Quads quads(const std::byte* block, std::uint32_t half) {
    Quads codes = plane<kPlanes.low, g>(block + kPlanes.low_at(), half)
                      .template field<g / kPlanes.low * kPlanes.low, kPlanes.low>();
    if constexpr (kPlanes.high > 0)
      codes = codes.template with_field<g / kPlanes.high * kPlanes.high, kPlanes.high, kPlanes.low>(
          plane<kPlanes.high, g>(block, half));
    if constexpr (kTraits.has_table()) codes = codes.looked_up(kTable);
    return codes;
  }
  // What the sums of products have too much where codes are without their offset.
  static int above(int sum_of_query) {
    return (kTraits.signed_codes() ? Quads::kSignedOffset : kTraits.code_offset()) * sum_of_query;
  }

 private:
  template <std::uint32_t bits, std::uint32_t g>
  [[gnu::always_inline]] static Quads plane(const std::byte* plane, std::uint32_t half) {
    return Quads::load(reinterpret_cast<const std::uint8_t*>(plane) +
                       (g % bits * kKvTile + half * kLanes) * 4);
  }
};

// Adds the products of key codes with those of `n` queries, at codes + i × dim, to `dots`. Both
// halves at once, where registers hold their sums: they share what is read of the queries, and are
// chains enough for a core that begins two products in each cycle.
template <typename Codes, std::uint32_t halves, std::uint32_t n, typename Sums>
[[gnu::always_inline]] inline void add_dots(const std::byte* block, std::uint32_t half,
                                            const std::int8_t* codes, std::size_t dim,
                                            Sums (&dots)[halves][n]) {
  // Else the compiler computes all addresses of all blocks beforehand, and keeps them in memory.
  asm volatile("" : "+r"(codes));
  for_constants<kQuadGroups>([&]<std::uint32_t g>(Count<g>) {
    decltype(Codes::template quads<g>(block, half)) keys[halves];
    for (std::uint32_t h = 0; h < halves; ++h) keys[h] = Codes::template quads<g>(block, half + h);
    for (std::uint32_t i = 0; i < n; ++i) {
      const auto query = keys[0].four(codes + i * dim + 4 * g);
      for (std::uint32_t h = 0; h < halves; ++h)
        dots[h][i] = keys[h].template plus_dot<Codes::kTraits.signed_codes()>(dots[h][i], query);
    }
  });
}

// What `n` queries have of each of their blocks, [n][dim / 32]: where the sums of products with
// keys begin, so that what they have too much comes off; and the scaled sums of the codes.
template <typename Codes, std::uint32_t n>
struct QueryBlocks {
  std::int32_t begin[n * (kMaxHeadDim / kKvBlock)];
  float sums[n * (kMaxHeadDim / kKvBlock)];

  [[gnu::always_inline]] QueryBlocks(const TileQueries& queries, std::uint32_t first) {
    const std::size_t count = queries.dim / kKvBlock;
    const std::int16_t* const halves = queries.sums + 2 * first * count;
    const float* const scales = queries.scales + first * count;
    for (std::size_t k = 0; k < n * count; ++k) {
      const int sum = halves[2 * k] + halves[2 * k + 1];
      begin[k] = -Codes::above(sum);
      if constexpr (Codes::kTraits.has_minimum()) sums[k] = static_cast<float>(sum) * scales[k];
    }
  }
};

template <typename Lanes>
[[gnu::always_inline]] inline Lanes load_halves(const std::byte* from) {
  return Lanes::load_f16(reinterpret_cast<const std::uint16_t*>(from));
}

// Of the weights of 32 positions with a value for each.
template <typename Lanes>
[[gnu::always_inline]] inline float weighted_sum(const float* weights, Lanes low, Lanes high) {
  return fma(Lanes::load(weights + kLanes, Whole{}), high, Lanes::load(weights, Whole{}) * low)
      .sum();
}

// The scales of 32 positions in all slices of a tile of values.
template <typename Lanes>
struct LargestScales {
  Lanes largest[2] = {Lanes::broadcast(0), Lanes::broadcast(0)};  // in magnitude
  Lanes check = Lanes::broadcast(0);                              // stays zero where all are finite

  [[gnu::always_inline]] void add(const Lanes (&d)[2]) {
    for (std::uint32_t half = 0; half < 2; ++half) {
      largest[half] = larger(d[half].magnitude(), largest[half]);
      check = fma(d[half], Lanes::broadcast(0), check);
    }
  }
};

// The weights of `n` queries for the 32 positions of a tile of values, and their products with its
// codes (kernels/attention.h).
template <typename Lanes, typename Quads, std::uint32_t n>
struct CodedWeights {
  // Below this a tile adds nothing, and is not divided by.
  static constexpr float kLeast = 0x1p-100f;
  static_assert(n <= kLanes);

  float scales[kLanes];
  Lanes weights[n][2];
  std::int32_t pairs[n][kKvTile / 2];  // of a slice: positions i and i + 16

  [[gnu::always_inline]] CodedWeights(const float* of_queries, const LargestScales<Lanes>& d) {
    const auto all = [](float value) { return Lanes::broadcast(value); };
    Lanes scaled[n];
    for (std::uint32_t i = 0; i < n; ++i) {
      for (std::uint32_t half = 0; half < 2; ++half)
        weights[i][half] = Lanes::load(of_queries + i * kKvTile + half * kLanes, Whole{});
      scaled[i] = larger(weights[i][0] * d.largest[0], weights[i][1] * d.largest[1]);
    }
    const Lanes largest = largest_of(scaled);
    float inverse[kLanes];
    select_less(largest, all(kLeast), all(0), all(32767) / largest).store(inverse, Whole{});
    fma(largest, all(1.0f / 32767), all(d.check.sum())).store(scales, Whole{});
    for (std::uint32_t i = 0; i < n; ++i)
      for (Lanes& weight : weights[i]) weight = weight * all(inverse[i]);
  }

  [[gnu::always_inline]] void meet(const Lanes (&d)[2]) {
    for (std::uint32_t i = 0; i < n; ++i)
      Quads::store_pairs(weights[i][0] * d[0], weights[i][1] * d[1], pairs[i]);
    // They are read from memory, where a product can broadcast them: a compiler that knows what was
    // stored takes the vectors apart instead.
    asm volatile("" : : "r"(&pairs) : "memory");
  }

  // The exact products with the channels of a block, 16 in each half.
  template <typename Codes>
  [[gnu::always_inline]] void multiply(const std::byte* block, LinesAhead& ahead,
                                       typename Quads::Sums (&sums)[2][n]) const {
    constexpr std::size_t kLines = Codes::kPlanes.block_bytes() / kLineBytes;
    for (std::uint32_t i = 0; i < n; ++i) sums[0][i] = sums[1][i] = Quads::all(0);
    for_constants<kQuadGroups>([&]<std::uint32_t g>(Count<g>) {
      ahead.ask((g + 1) * kLines / kQuadGroups - g * kLines / kQuadGroups);
      constexpr bool kSigned = Codes::kTraits.signed_codes();
      typename Quads::Words words[2];
      for (std::uint32_t half = 0; half < 2; ++half)
        words[half] = Codes::template quads<g>(block, half)
                          .template words<kSigned>(Codes::kTraits.code_offset());
      for (std::uint32_t i = 0; i < n; ++i) {
        const auto of_query = Quads::pairs(pairs[i] + g);
        for (std::uint32_t half = 0; half < 2; ++half)
          sums[half][i] = words[half].plus_products(sums[half][i], of_query);
      }
    });
  }
};

}  // namespace hearth::kernels
