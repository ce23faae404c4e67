// Sixteen rows of weights against many tokens.
//
// The rows are unpacked to tiles once for up to kPanelTokens tokens and transposed, so that lane r
// of every vector belongs to row r. A token then broadcasts its activations four at a time and
// needs no reduction at all. The accumulators of kernels/arithmetic.h are eight vectors for each
// token, in the cache between the tiles; block b of the tile uses number b.
//
// Scales, minima and sums are f32 here. Their products with the integer dot products are integers
// below 2^24 as well, so they are exact, and so is the sum of two of them (NVFP4: it is the one
// rounding of I).
#pragma once

#include "kernels/cpu/matmul/reader.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kPanelRows = 16;
constexpr std::uint32_t kPanelTokens = 64;

// A tile of one row in memory, every member a multiple of 16 bytes.
template <WeightFormat format>
struct alignas(64) TileRecord {
  using F = Operand<format>;
  static constexpr std::uint32_t kParts = F::kHalfScales ? 16 : 8;
  static constexpr std::uint32_t kFloatScales = F::kHasScales ? 4 : 8;  // 4 times the same, or 8

  std::uint8_t codes[kTileValues];
  float scales[kParts];
  float minima[kParts];
  float d[kFloatScales];
  float m[kFloatScales];
};

// The same of 16 rows, transposed: one vector for each 32-bit word of the record.
template <typename Wide, typename Floats, WeightFormat format>
struct Panel {
  using Record = TileRecord<format>;

  Wide codes[kTileValues / 4];
  Floats scales[Record::kParts];
  Floats minima[Record::kParts];
  Floats d[Record::kFloatScales];
  Floats m[Record::kFloatScales];
};

// What the tokens of a panel bring to a tile besides their codes.
struct PanelTerms {
  std::int32_t start[kPanelTokens][16];  // -kOffset × sum of each part
  float sums[kPanelTokens][16];          // of each part
};

template <WeightFormat format, typename Wide>
HEARTH_INLINE void store(const Tile<Wide>& tile, TileRecord<format>& out) {
  using F = Operand<format>;
  for (int i = 0; i < 4; ++i) tile.codes[i].store(out.codes + 64 * i);
  if constexpr (F::kLargeScales)
    tile.half_scales.store(out.scales);
  else if constexpr (F::kHalfScales)
    tile.half_scales.store_as_floats(out.scales);
  else if constexpr (F::kHasScales)
    _mm256_storeu_ps(out.scales, _mm256_cvtepi32_ps(tile.scales));

  if constexpr (F::kHasMinimum && F::kHalfScales)
    Wide::from_i16(tile.minima).store_as_floats(out.minima);
  else if constexpr (F::kHasMinimum && F::kHasScales)
    _mm256_storeu_ps(out.minima, _mm256_cvtepi32_ps(_mm256_srai_epi32(tile.minima, 16)));

  const auto store_scales = [](float* to, __m256 values) {
    if constexpr (F::kHasScales)
      _mm_storeu_ps(to, _mm256_castps256_ps128(values));
    else
      _mm256_storeu_ps(to, values);
  };
  store_scales(out.d, tile.d);
  if constexpr (F::kHasMinimum) store_scales(out.m, tile.m);
}

// The member at `first` of 16 records, transposed: `from` makes a vector of 16 words.
template <typename Record, typename Wide, typename Vector, std::size_t kVectors, typename From>
HEARTH_INLINE void transpose_member(const void* first, Vector (&out)[kVectors], From from) {
  const auto* at = static_cast<const std::uint8_t*>(first);
  for (std::size_t i = 0; i < kVectors; i += 4) {
    Wide words[4];
    transpose<sizeof(Record)>(at + 4 * i, words);
    for (std::size_t j = 0; j < 4; ++j) out[i + j] = from(words[j]);
  }
}

template <typename Wide, typename Floats, WeightFormat format>
void load_panel(const RowReader<format>& reader, std::uint32_t row, std::uint32_t index,
                Panel<Wide, Floats, format>& panel) {
  using F = Operand<format>;
  using Record = TileRecord<format>;
  Record records[kPanelRows];
  for (std::uint32_t r = 0; r < kPanelRows; ++r) {
    reader.prefetch_tile(row + kPanelRows + r, index);
    std::uint8_t rest[F::kTileBytes];
    const std::uint8_t* at = reader.tile(row + r, index);
    if (!reader.is_whole(index)) {
      reader.copy_rest(row + r, rest);
      at = rest;
    }
    Tile<Wide> tile;
    unpack(Format<format>{}, at, tile);
    store<format>(tile, records[r]);
  }
  const auto codes = [](Wide words) { return words; };
  const auto floats = [](Wide words) { return Floats::from_bits(words); };
  transpose_member<Record, Wide>(records[0].codes, panel.codes, codes);
  transpose_member<Record, Wide>(records[0].d, panel.d, floats);
  if constexpr (F::kHasMinimum) transpose_member<Record, Wide>(records[0].m, panel.m, floats);
  if constexpr (F::kHasScales)
    transpose_member<Record, Wide>(records[0].scales, panel.scales, floats);
  if constexpr (F::kHasScales && F::kHasMinimum)
    transpose_member<Record, Wide>(records[0].minima, panel.minima, floats);
}

template <typename Wide, WeightFormat format>
void load_terms(const TokenRow* x, std::uint32_t tokens, std::uint32_t index, PanelTerms& terms) {
  constexpr int kOffset = offset_of<Wide, format>();
  for (std::uint32_t t = 0; t < tokens; ++t) {
    const auto* sums = reinterpret_cast<const __m256i*>(x[t].sums + index * 2 * kTileBlocks);
    const __m256i halves = _mm256_loadu_si256(sums);
    if constexpr (Operand<format>::kHalfScales) {
      const Wide wide = Wide::from_i16(halves);
      wide.times(-kOffset).store(terms.start[t]);
      wide.store_as_floats(terms.sums[t]);
    } else {
      const __m256i blocks = _mm256_madd_epi16(halves, _mm256_set1_epi16(1));
      const __m256i start = _mm256_mullo_epi32(blocks, _mm256_set1_epi32(-kOffset));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(terms.start[t]), start);
      _mm256_storeu_ps(terms.sums[t], _mm256_cvtepi32_ps(blocks));
    }
  }
}

// Block `b` of the panel with all tokens.
template <typename Wide, typename Floats, WeightFormat format>
void multiply_block(const Panel<Wide, Floats, format>& panel, std::uint32_t b,
                    const PanelTerms& terms, const TokenRow* x, std::uint32_t tokens,
                    std::uint32_t index, Floats* acc) {
  using F = Operand<format>;
  constexpr bool kSigned = F::kSigned;
  // Words 0..3 and 4..7 of the block; see the drawing in tile.h.
  const Wide* first = panel.codes + 32 * (b % 2) + 4 * (b / 2);
  const Wide* second = first + 16;
  const Floats d = panel.d[F::kHasScales ? 0 : b], m = panel.m[F::kHasScales ? 0 : b];

  for (std::uint32_t t = 0; t < tokens; ++t) {
    const std::int8_t* codes = x[t].codes + index * kTileValues + b * kActivationBlock;
    const auto plus_half = [codes](Wide sum, const Wide* w, int half) {
      for (int i = 0; i < 4; ++i)
        sum = sum.template plus_dot<kSigned>(w[i], Wide::broadcast(codes + 16 * half + 4 * i));
      return sum;
    };
    const float* sums = terms.sums[t];
    Floats product, minimum;
    if constexpr (F::kHalfScales) {
      const std::int32_t* start = terms.start[t] + 2 * b;
      product = Floats::from(plus_half(Wide::broadcast(start), first, 0)) * panel.scales[2 * b];
      product.add_product(Floats::from(plus_half(Wide::broadcast(start + 1), second, 1)),
                          panel.scales[2 * b + 1]);
      if constexpr (F::kHasMinimum) {
        minimum = panel.minima[2 * b] * Floats::broadcast(sums[2 * b]);
        minimum.add_product(panel.minima[2 * b + 1], Floats::broadcast(sums[2 * b + 1]));
      }
    } else {
      const Wide start = Wide::broadcast(terms.start[t] + b);
      product = Floats::from(plus_half(plus_half(start, first, 0), second, 1));
      if constexpr (F::kHasScales) product = product * panel.scales[b];
      if constexpr (F::kHasMinimum) minimum = Floats::broadcast(sums[b]);
      if constexpr (F::kHasMinimum && F::kHasScales) minimum = minimum * panel.minima[b];
    }
    const Floats scale = Floats::broadcast(x[t].scales[index * kTileBlocks + b]);
    acc[t].add_product(product, d * scale);
    if constexpr (F::kHasMinimum) acc[t].add_product(minimum, m * scale);
  }
}

// Rows [row, row + 16) with up to kPanelTokens tokens.
template <typename Wide, typename Floats, WeightFormat format>
void multiply_panel(const RowReader<format>& reader, std::uint32_t row, const TokenRow* x,
                    std::uint32_t tokens, float* y, std::size_t y_stride) {
  Panel<Wide, Floats, format> panel;
  PanelTerms terms;
  Floats acc[kBlockAccumulators][kPanelTokens];
  for (auto& of_block : acc)
    for (std::uint32_t t = 0; t < tokens; ++t) of_block[t] = Floats::zero();

  for (std::uint32_t i = 0; i < reader.tiles; ++i) {
    load_panel<Wide, Floats>(reader, row, i, panel);
    load_terms<Wide, format>(x, tokens, i, terms);
    const std::uint32_t left = reader.blocks - i * kTileBlocks;
    for (std::uint32_t b = 0; b < (left < kTileBlocks ? left : kTileBlocks); ++b)
      multiply_block(panel, b, terms, x, tokens, i, acc[b]);
  }
  // fold8, lane by lane.
  for (std::uint32_t t = 0; t < tokens; ++t) {
    const Floats even = (acc[0][t] + acc[4][t]) + (acc[2][t] + acc[6][t]);
    const Floats odd = (acc[1][t] + acc[5][t]) + (acc[3][t] + acc[7][t]);
    (even + odd).store(y + t * y_stride);
  }
}

}  // namespace
}  // namespace hearth::kernels
