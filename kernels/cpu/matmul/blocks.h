// Products of block formats with quantized activations, written once for all instruction sets:
// rows.h for a few tokens, panel.h for many. Both keep the float order of kernels/arithmetic.h for
// each output; the integers of a block are exact however they are summed.
//
// Blocks past the end of a row (its last tile may have fewer than eight) are zero weights and zero
// activations in rows.h. They leave an accumulator as it is: it cannot be -0, since it starts at +0
// and all terms are multiples of the smallest denormal.
#pragma once

#include "kernels/cpu/matmul/panel.h"
#include "kernels/cpu/matmul/rows.h"

namespace hearth::kernels {
namespace {

template <typename Wide, typename Floats, WeightFormat format>
void panel(const RowReader<format>& reader, std::uint32_t row, const Activations& x, float* y,
           std::size_t y_stride) {
  for (std::uint32_t first = 0; first < x.rows; first += kPanelTokens) {
    const std::uint32_t left = x.rows - first;
    const std::uint32_t tokens = left < kPanelTokens ? left : kPanelTokens;
    TokenRow token_rows[kPanelTokens];
    for (std::uint32_t t = 0; t < tokens; ++t) token_rows[t] = token_row(x, first + t);
    multiply_panel<Wide, Floats>(reader, row, token_rows, tokens, y + first * y_stride, y_stride);
  }
}

template <typename Wide, typename Floats, WeightFormat format>
void matmul(const WeightMatrix& weights, RowRange range, const Activations& x, float* y,
            std::size_t y_stride) {
  const RowReader<format> reader(weights);
  std::uint32_t row = range.begin;
  if (x.rows > kTokenTile)
    for (; row + kPanelRows <= range.end; row += kPanelRows, y += kPanelRows)
      panel<Wide, Floats>(reader, row, x, y, y_stride);
  for (; row + kRowTile <= range.end; row += kRowTile, y += kRowTile)
    few_tokens<Wide, format, kRowTile>(reader, row, x, y, y_stride);
  for (; row < range.end; ++row, ++y) few_tokens<Wide, format, 1>(reader, row, x, y, y_stride);
}

template <typename Wide, typename Floats, WeightFormat format>
void fill_format(CpuKernels& table, std::string_view origin) {
  if constexpr (takes_quantized_activations(format)) {
    table.matmul[static_cast<std::size_t>(format)] = matmul<Wide, Floats, format>;
    table.matmul_origin[static_cast<std::size_t>(format)] = origin;
  }
}

template <typename Wide, typename Floats>
void fill_blocks(CpuKernels& table, std::string_view origin) {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) \
  fill_format<Wide, Floats, WeightFormat::k##Name>(table, origin);
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
}

}  // namespace
}  // namespace hearth::kernels
