// Four rows of a format with blocks of 256 side by side. What there is one of for each block of 32
// or half of it (a sum of products, a scale, a minimum) is computed for four rows at once, lane k
// of each quarter for row k: row by row (kernels/cpu/matmul/rows.h), unpacking scales and adding up
// lanes takes more instructions than the products.
#pragma once

#include "kernels/cpu/avx512/four_rows_of_blocks.h"
#include "kernels/cpu/avx512/four_rows_of_halves.h"

namespace hearth::kernels {
namespace {

template <WeightFormat format, bool kOne>
void four_rows(const RowReader<format>& reader, std::uint32_t row, const Activations& x,
               std::uint32_t token, std::uint32_t tokens, float* y, std::size_t y_stride) {
  using Rows = std::conditional_t<Operand<format>::kHalfScales, FourRowsOfHalves<format>,
                                  FourRowsOfBlocks<format>>;
  constexpr std::uint32_t kTokens = kOne ? 1 : kTokenTile;
  if constexpr (kOne) tokens = 1;
  typename Rows::Sums acc[kTokens];
  for (std::uint32_t t = 0; t < tokens; ++t) acc[t] = {_mm512_setzero_ps(), _mm512_setzero_ps()};

  const std::uint8_t* first = reader.data + row * reader.row_bytes;
  for (std::uint32_t i = 0; i < reader.tiles; ++i, first += Operand<format>::kTileBytes) {
    reader.template prefetch_after<4>(row, i);
    const std::uint8_t* const at[4] = {first, first + reader.row_bytes,
                                       first + 2 * reader.row_bytes, first + 3 * reader.row_bytes};
    Rows rows;
    unpack(Format<format>{}, at, rows);
    for (std::uint32_t t = 0; t < tokens; ++t)
      rows.multiply_by(typename Rows::Token(token_row(x, token + t), i), acc[t]);
  }
  for (std::uint32_t t = 0; t < tokens; ++t) _mm_storeu_ps(y + t * y_stride, acc[t].folded());
}

}  // namespace
}  // namespace hearth::kernels
