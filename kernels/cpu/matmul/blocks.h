// Products of block formats with quantized activations, written once for all instruction sets.
//
// Few tokens: rows(), four rows of weights at a time, each unpacked to a tile in registers that
// meets every token. Many tokens: panel(), sixteen rows unpacked and transposed so that a lane is a
// row; then a token costs no reduction and its activations are broadcast. Both keep the float order
// of kernels/arithmetic.h for each output: the integers of a block are exact however they are
// summed, and they are below 2^24, so that products with integer scales may also be taken in f32.
//
// Blocks past the end of a row (the last tile of a row may have fewer than eight) are zero weights
// and zero activations. They leave an accumulator as it is: it cannot be -0, since it starts at +0
// and all terms are multiples of the smallest denormal.
#pragma once

#include "kernels/cpu/matmul/unpack.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kRowTile = 4;       // rows of weights in registers together
constexpr std::uint32_t kPanelRows = 16;    // rows of a panel, one for each lane
constexpr std::uint32_t kPanelTokens = 64;  // tokens that share the unpacking of a panel
constexpr std::uint32_t kFewTokens = 8;     // up to here rows() is the faster

// One row of the activations.
struct TokenRow {
  const std::int8_t* codes;
  const float* scales;
  const std::int16_t* sums;
};

HEARTH_INLINE TokenRow token_row(const Activations& x, std::uint32_t t) {
  const std::size_t first = std::size_t{t} * x.stride;
  return {x.codes + first, x.scales + first / 32, x.sums + first / 16};
}

// 256 activations in the order of a tile.
template <typename Wide>
struct TokenTile {
  Wide codes[4];
  Wide half_offset;  // kOffset × sum of 16, where the format has scales for 16
  __m256i offset;    // kOffset × sum of 32 elsewhere
  __m256i sums;
  __m256 scales;
};

template <typename Wide, WeightFormat format>
constexpr int offset_of() {
  return Operand<format>::kSigned ? Wide::kSignedOffset : Operand<format>::kOffset;
}

template <typename Wide, WeightFormat format>
HEARTH_INLINE void load(const TokenRow& x, std::uint32_t tile, TokenTile<Wide>& out) {
  constexpr int kOffset = offset_of<Wide, format>();
  const std::int8_t* codes = x.codes + tile * kTileValues;
  const Wide a = Wide::load(codes), b = Wide::load(codes + 64);
  const Wide c = Wide::load(codes + 128), d = Wide::load(codes + 192);
  const Wide even_ab = even_quarters(a, b), even_cd = even_quarters(c, d);
  const Wide odd_ab = odd_quarters(a, b), odd_cd = odd_quarters(c, d);
  out.codes[0] = even_quarters(even_ab, even_cd);
  out.codes[1] = even_quarters(odd_ab, odd_cd);
  out.codes[2] = odd_quarters(even_ab, even_cd);
  out.codes[3] = odd_quarters(odd_ab, odd_cd);
  out.sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.sums + tile * 2 * kTileBlocks));
  out.scales = _mm256_loadu_ps(x.scales + tile * kTileBlocks);
  if constexpr (kOffset != 0 && Operand<format>::kHalfScales)
    out.half_offset = Wide::from_i16(out.sums).times(kOffset);
  else if constexpr (kOffset != 0)
    out.offset = _mm256_madd_epi16(out.sums, _mm256_set1_epi16(kOffset));
}

// The integers I of kernels/arithmetic.h for the eight blocks.
template <WeightFormat format, typename Wide>
HEARTH_INLINE __m256i block_products(const Tile<Wide>& w, const TokenTile<Wide>& x) {
  using F = Operand<format>;
  constexpr int kOffset = offset_of<Wide, format>();
  const auto dot = [&](int i, Wide sum) {
    return sum.template plus_dot<F::kSigned>(w.codes[i], x.codes[i]);
  };
  if constexpr (F::kHalfScales) {
    Wide sums = sum_quarters(dot(0, Wide::zero()), dot(1, Wide::zero()), dot(2, Wide::zero()),
                             dot(3, Wide::zero()));
    if constexpr (kOffset != 0) sums = sums - x.half_offset;
    return sums.times(w.half_scales).sum_of_pairs();
  } else {
    __m256i sums = sum_quarters(dot(1, dot(0, Wide::zero())), dot(3, dot(2, Wide::zero())));
    if constexpr (kOffset != 0) sums = _mm256_sub_epi32(sums, x.offset);
    if constexpr (F::kHasScales) sums = _mm256_mullo_epi32(sums, w.scales);
    return sums;
  }
}

template <WeightFormat format, typename Wide>
HEARTH_INLINE __m256 multiply(const Tile<Wide>& w, const TokenTile<Wide>& x, __m256 acc) {
  const __m256 product = _mm256_cvtepi32_ps(block_products<format>(w, x));
  acc = _mm256_fmadd_ps(product, _mm256_mul_ps(w.d, x.scales), acc);
  if constexpr (Operand<format>::kHasMinimum) {
    const __m256 minimum = _mm256_cvtepi32_ps(_mm256_madd_epi16(w.minima, x.sums));
    acc = _mm256_fmadd_ps(minimum, _mm256_mul_ps(w.m, x.scales), acc);
  }
  return acc;
}

// The rows of a matrix of a given format, tile by tile. The last tile of a row that ends before 256
// values is completed with zeros in `rest`, so that nothing past the matrix is read.
template <WeightFormat format>
struct RowReader {
  using F = Operand<format>;

  const std::uint8_t* data;
  std::size_t row_bytes;
  std::uint32_t tiles;
  std::uint32_t rest_bytes;  // of the last tile, 0 where it is whole

  explicit RowReader(const WeightMatrix& weights)
      : data(reinterpret_cast<const std::uint8_t*>(weights.data)),
        row_bytes(std::size_t{weights.columns / F::kBlockValues} * F::kBlockBytes),
        tiles((weights.columns + kTileValues - 1) / kTileValues),
        rest_bytes(static_cast<std::uint32_t>(row_bytes % F::kTileBytes)) {}

  HEARTH_INLINE const std::uint8_t* tile(std::uint32_t row, std::uint32_t index,
                                         std::uint8_t (&rest)[F::kTileBytes]) const {
    const std::uint8_t* at = data + row * row_bytes + std::size_t{index} * F::kTileBytes;
    if (F::kHasScales || rest_bytes == 0 || index + 1 < tiles) return at;
    for (std::uint32_t i = 0; i < F::kTileBytes; ++i) rest[i] = 0;
    for (std::uint32_t i = 0; i < rest_bytes; ++i) rest[i] = at[i];
    return rest;
  }
};

HEARTH_INLINE void prefetch(const std::uint8_t* at, std::uint32_t bytes) {
  for (std::uint32_t i = 0; i < bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(at + i), _MM_HINT_T0);
}

// kRows rows of weights from `row` on, with one token (kOne) or up to kFewTokens from `token` on.
template <typename Wide, WeightFormat format, std::uint32_t kRows, bool kOne>
void rows(const RowReader<format>& reader, std::uint32_t row, const Activations& x,
          std::uint32_t token, std::uint32_t tokens, float* y, std::size_t y_stride) {
  constexpr std::uint32_t kTokens = kOne ? 1 : kFewTokens;
  if constexpr (kOne) tokens = 1;
  __m256 acc[kTokens][kRows];
  for (std::uint32_t t = 0; t < tokens; ++t)
    for (std::uint32_t r = 0; r < kRows; ++r) acc[t][r] = _mm256_setzero_ps();

  for (std::uint32_t i = 0; i < reader.tiles; ++i) {
    Tile<Wide> tiles[kRows];
    for (std::uint32_t r = 0; r < kRows; ++r) {
      std::uint8_t rest[Operand<format>::kTileBytes];
      const std::uint8_t* at = reader.tile(row + r, i, rest);
      prefetch(at + kRows * reader.row_bytes, Operand<format>::kTileBytes);
      unpack(Format<format>{}, at, tiles[r]);
    }
    for (std::uint32_t t = 0; t < tokens; ++t) {
      TokenTile<Wide> x_tile;
      load<Wide, format>(token_row(x, token + t), i, x_tile);
      for (std::uint32_t r = 0; r < kRows; ++r)
        acc[t][r] = multiply<format>(tiles[r], x_tile, acc[t][r]);
    }
  }
  for (std::uint32_t t = 0; t < tokens; ++t)
    for (std::uint32_t r = 0; r < kRows; ++r) y[t * y_stride + r] = fold(acc[t][r]);
}

template <typename Wide, WeightFormat format, std::uint32_t kRows>
void few_tokens(const RowReader<format>& reader, std::uint32_t row, const Activations& x, float* y,
                std::size_t y_stride) {
  for (std::uint32_t t = 0; t < x.rows; t += kFewTokens) {
    const std::uint32_t tokens = x.rows - t < kFewTokens ? x.rows - t : kFewTokens;
    if (tokens == 1)
      rows<Wide, format, kRows, true>(reader, row, x, t, 1, y + t * y_stride, y_stride);
    else
      rows<Wide, format, kRows, false>(reader, row, x, t, tokens, y + t * y_stride, y_stride);
  }
}

template <typename Wide, WeightFormat format>
void matmul(const WeightMatrix& weights, RowRange range, const Activations& x, float* y,
            std::size_t y_stride) {
  const RowReader<format> reader(weights);
  std::uint32_t row = range.begin;
  for (; row + kRowTile <= range.end; row += kRowTile, y += kRowTile)
    few_tokens<Wide, format, kRowTile>(reader, row, x, y, y_stride);
  for (; row < range.end; ++row, ++y) few_tokens<Wide, format, 1>(reader, row, x, y, y_stride);
}

template <typename Wide, WeightFormat format>
void fill_format(CpuKernels& table, std::string_view origin) {
  if constexpr (takes_quantized_activations(format)) {
    table.matmul[static_cast<std::size_t>(format)] = matmul<Wide, format>;
    table.matmul_origin[static_cast<std::size_t>(format)] = origin;
  }
}

template <typename Wide>
void fill_blocks(CpuKernels& table, std::string_view origin) {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) \
  fill_format<Wide, WeightFormat::k##Name>(table, origin);
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
}

}  // namespace
}  // namespace hearth::kernels
