// Codes of a block of 32 channels × 32 positions, read by vectors from their planes
// (kernels/kv/kv_format.h has the layout).
//
// `Quads`, the integer companion of `Lanes`, is 16 positions with four key codes each, `Sixteen`
// 16 channels of one position of values (kernels/cpu/scalar/quads.h has the meaning of their
// operations).
#pragma once

#include "kernels/cpu/kv/tile.h"
#include "kernels/kv/code_tables.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kQuadGroups = kKvBlock / 4;

template <typename Integers, KvFormat format>
struct BlockCodes {
  using Quads = typename Integers::Quads;
  using Sixteen = typename Integers::Sixteen;
  static constexpr KvPlanes kPlanes = kv_planes(format);
  static constexpr KvFormatTraits kTraits = traits(format);
  static constexpr const std::int8_t (&kTable)[16] = kv_code_table(format);

  // Of channels 4 g to 4 g + 3 of 16 positions.
  template <std::uint32_t g>
  [[gnu::always_inline]] static Quads keys(const std::byte* block, std::uint32_t half) {
    Quads codes = quads<kPlanes.low, g>(block + kPlanes.low_at(), half)
                      .template field<g / kPlanes.low * kPlanes.low, kPlanes.low>();
    if constexpr (kPlanes.high > 0)
      codes = codes.template with_field<g / kPlanes.high * kPlanes.high, kPlanes.high, kPlanes.low>(
          quads<kPlanes.high, g>(block, half));
    if constexpr (kTraits.has_table()) codes = codes.looked_up(kTable);
    return codes;
  }
  // What the sums of products have too much where codes are without their offset.
  static int above(int sum_of_query) {
    return (kTraits.signed_codes() ? Quads::kSignedOffset : kTraits.code_offset()) * sum_of_query;
  }

  // Channels [16 half, 16 half + 16) of one position, as what is computed with.
  template <typename Lanes>
  [[gnu::always_inline]] static Lanes values(const std::byte* block, std::uint32_t position,
                                             std::uint32_t half) {
    const std::uint8_t* const low = bytes(block) + kPlanes.low_at() + position * 4 * kPlanes.low;
    [[maybe_unused]] const std::uint8_t* const high = bytes(block) + position * 4 * kPlanes.high;
    if constexpr (Sixteen::kLooksUpNibbles && kPlanes.low == 4 && kPlanes.high <= 1) {
      if constexpr (kTraits.has_table())
        return Sixteen::template from_table<Lanes>(low, half, kTable);
      else if constexpr (kPlanes.high == 0)
        return Sixteen::template from_nibbles<Lanes>(low, half, kTraits.code_offset());
      else
        return Sixteen::template from_nibbles<Lanes>(low, high, half, kTraits.code_offset());
    } else {
      Sixteen codes = Sixteen::template load<kPlanes.low>(low, half);
      if constexpr (kPlanes.high > 0)
        codes = codes.template with_plane<kPlanes.high, kPlanes.low>(high, half);
      if constexpr (kTraits.has_table()) codes = codes.looked_up(kTable);
      if constexpr (kTraits.code_offset() > 0) codes = codes.minus(kTraits.code_offset());
      return codes.template as_floats<Lanes>();
    }
  }

 private:
  static const std::uint8_t* bytes(const std::byte* block) {
    return reinterpret_cast<const std::uint8_t*>(block);
  }
  template <std::uint32_t bits, std::uint32_t g>
  [[gnu::always_inline]] static Quads quads(const std::byte* plane, std::uint32_t half) {
    return Quads::load(bytes(plane) + (g % bits * kKvTile + half * kLanes) * 4);
  }
};

inline constexpr std::size_t kLineBytes = 64;  // of the caches

// Adds the products of a block's codes with those of `n` queries, at codes + i × dim, to `dots`.
// The block that follows is `next` bytes on.
template <typename Codes, std::uint32_t n, typename Sums>
[[gnu::always_inline]] inline void add_dots(const std::byte* block, std::uint32_t half,
                                            const std::int8_t* codes, std::size_t dim,
                                            std::size_t next, Sums (&dots)[n]) {
  for_constants<kQuadGroups>([&]<std::uint32_t g>(Count<g>) {
    if (const std::size_t line = (half * kQuadGroups + g) * kLineBytes;
        line < Codes::kPlanes.block_bytes())
      prefetch_ahead(block + line, next);
    const auto keys = Codes::template keys<g>(block, half);
    for (std::uint32_t i = 0; i < n; ++i)
      dots[i] =
          keys.template plus_dot<Codes::kTraits.signed_codes()>(dots[i], codes + i * dim + 4 * g);
  });
}

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

}  // namespace hearth::kernels
