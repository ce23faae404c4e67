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
  const std::int8_t* rows[n];
  for_constants<n>([&]<std::uint32_t i>(Count<i>) {
    rows[i] = codes + i * dim;
    // Else the compiler computes all addresses of all blocks beforehand, and keeps them in memory.
    asm volatile("" : "+r"(rows[i]));
  });
  for_constants<kQuadGroups>([&]<std::uint32_t g>(Count<g>) {
    decltype(Codes::template quads<g>(block, half)) keys[halves];
    for_constants<halves>(
        [&]<std::uint32_t h>(Count<h>) { keys[h] = Codes::template quads<g>(block, half + h); });
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      const auto query = keys[0].four(rows[i] + 4 * g);
      for_constants<halves>([&]<std::uint32_t h>(Count<h>) {
        dots[h][i] = keys[h].template plus_dot<Codes::kTraits.signed_codes()>(dots[h][i], query);
      });
    });
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

// Of the weights of `n` queries for 32 positions with a value for each of these: all in one vector,
// since products of the queries need the others.
template <std::uint32_t n, typename Lanes>
[[gnu::always_inline]] inline Lanes weighted_sums(const float* weights, const float* gains,
                                                  Lanes low, Lanes high) {
  Lanes rows[n];
  for_constants<n>([&]<std::uint32_t i>(Count<i>) {
    const float* const of_query = weights + i * kKvTile;
    rows[i] =
        fma(Lanes::load(of_query + kLanes, Whole{}), high, Lanes::load(of_query, Whole{}) * low);
  });
  return sums_of(rows) * Lanes::load(gains, Whole{});
}

// Of the scales of 32 positions in all slices of a tile of values.
template <typename Lanes>
struct LargestScale {
  Lanes largest = Lanes::broadcast(0);  // in magnitude
  Lanes check = Lanes::broadcast(0);    // stays zero where all are finite

  [[gnu::always_inline]] void add(const Lanes (&d)[2]) {
    for (std::uint32_t half = 0; half < 2; ++half) {
      largest = larger(d[half].magnitude(), largest);
      check = fma(d[half], Lanes::broadcast(0), check);
    }
  }
};

// The weights of `n` queries for the 32 positions of a tile of values, and their products with its
// codes (kernels/attention.h). They meet the scales of all slices before the first product: later
// they would keep the products waiting.
template <typename Lanes, typename Quads, std::uint32_t n>
class CodedWeights {
 public:
  [[gnu::always_inline]] CodedWeights(const float* weights, const float* gains,
                                      const LargestScale<Lanes>& d)
      : weights_(weights) {
    const auto all = [](float value) { return Lanes::broadcast(value); };
    const Lanes most = all(d.largest.largest());
    inverse_ = select_less(most, all(kLeast), all(0), all(32767) / most);
    const Lanes step = fma(most, all(1.0f / 32767), all(d.check.sum()));
    (Lanes::load(gains, Whole{}) * step).store(scales_, Whole{});
  }

  [[gnu::always_inline]] void meet(std::uint32_t slice, const Lanes (&d)[2]) {
    const Lanes steps[2] = {d[0] * inverse_, d[1] * inverse_};
    for_constants<n>([&]<std::uint32_t i>(Count<i>) {
      const float* const of_query = weights_ + i * kKvTile;
      Quads::store_pairs(Lanes::load(of_query, Whole{}) * steps[0],
                         Lanes::load(of_query + kLanes, Whole{}) * steps[1], pairs_[slice][i]);
    });
  }

  float scale(std::uint32_t i) const { return scales_[i]; }

  // The exact products with the channels of a block, 16 in each half.
  template <typename Codes>
  [[gnu::always_inline]] void multiply(std::uint32_t slice, const std::byte* block,
                                       LinesAhead& ahead,
                                       typename Quads::Sums (&sums)[2][n]) const {
    // They are read from memory, where a product can broadcast them: a compiler that knows what was
    // stored takes the vectors apart instead.
    const std::int32_t* pairs = pairs_[slice][0];
    asm volatile("" : "+r"(pairs) : : "memory");
    constexpr std::size_t kLines = Codes::kPlanes.block_bytes() / kLineBytes;
    for_constants<n>([&]<std::uint32_t i>(Count<i>) { sums[0][i] = sums[1][i] = Quads::all(0); });
    for_constants<kQuadGroups>([&]<std::uint32_t g>(Count<g>) {
      ahead.ask((g + 1) * kLines / kQuadGroups - g * kLines / kQuadGroups);
      constexpr bool kSigned = Codes::kTraits.signed_codes();
      typename Quads::Words words[2];
      for_constants<2>([&]<std::uint32_t half>(Count<half>) {
        words[half] = Codes::template quads<g>(block, half)
                          .template words<kSigned>(Codes::kTraits.code_offset());
      });
      for_constants<n>([&]<std::uint32_t i>(Count<i>) {
        const auto of_query = Quads::pairs(pairs + i * (kKvTile / 2) + g);
        for_constants<2>([&]<std::uint32_t half>(Count<half>) {
          sums[half][i] = words[half].plus_products(sums[half][i], of_query);
        });
      });
    });
  }

 private:
  // Below this the values are zero, and are not divided by.
  static constexpr float kLeast = 0x1p-100f;
  static_assert(n <= kLanes);

  const float* weights_;
  Lanes inverse_;
  float scales_[kLanes];
  std::int32_t pairs_[kMaxHeadDim / kKvBlock][n][kKvTile / 2];  // positions i and i + 16
};

}  // namespace hearth::kernels
