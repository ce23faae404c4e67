// matrix_product of the float formats, whose products are rounded one by one: no matrix unit does
// that. Slice j has accumulators j and j + 8 of the sixteen.
#pragma once

#include "kernels/gpu/matrix_tile.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// 64 columns of all rows and tokens; the padding is for the banks.
inline constexpr unsigned kFloatColumns = 64;
struct StagedFloats {
  float weights[kTileRows][kFloatColumns + 9];
  float x[kTileTokens][kFloatColumns + 9];
};

template <WeightFormat format>
HEARTH_DEVICE void stage_floats(const ProductTask& task, const std::uint8_t* row,
                                const StagedRows& rows, const Tile& tile, std::uint32_t first,
                                StagedFloats& to) {
  for (unsigned i = staged_eighth(); i < kFloatColumns && first + i < task.columns; i += 8) {
    to.weights[staged_row()][i] = load_value<format>(row, first + i);
    for (unsigned t = 0; t < kStagedTokens; ++t)
      if (t * kTileRows < tile.tokens)
        to.x[staged_row() + t * kTileRows][i] =
            task.x.values[std::uint64_t{rows.x[t]} * task.x.stride + first + i] * rows.x_weight[t];
  }
}

HEARTH_DEVICE void multiply_column(const StagedFloats& staged, unsigned column, unsigned tokens,
                                   SliceSums& sums) {
  float w[kRowTiles][2];
  for (unsigned r = 0; r < kRowTiles; ++r)
    for (unsigned h = 0; h < 2; ++h) w[r][h] = staged.weights[row_of_sum(r, h)][column];
  for (unsigned n = 0; n < kTokenTiles; ++n) {
    if (8 * n >= tokens) continue;
    const float x[2] = {staged.x[token_of_sum(n, 0)][column], staged.x[token_of_sum(n, 1)][column]};
    for (unsigned r = 0; r < kRowTiles; ++r)
      for (unsigned i = 0; i < 4; ++i)
        sums.of[r][n][i] = fma(w[r][i / 2], x[i % 2], sums.of[r][n][i]);
  }
}

// A collective of the block: the products of a matrix, the two accumulators added.
template <WeightFormat format>
HEARTH_DEVICE void multiply_tile(const ProductTask& task, const std::byte* matrix,
                                 const StagedRows& rows, const Tile& tile, StagedFloats& staged,
                                 SliceSums& sums) {
  const auto* row = reinterpret_cast<const std::uint8_t*>(matrix) + rows.weights;
  SliceSums upper{};
  HEARTH_NOT_UNROLLED
  for (std::uint32_t first = 0; first < task.columns; first += kFloatColumns) {
    sync_threads();  // what lies there has been read
    stage_floats<format>(task, row, rows, tile, first, staged);
    sync_threads();
    const std::uint32_t left = task.columns - first;
    HEARTH_NOT_UNROLLED
    for (unsigned i = slice_index(); i < kFloatColumns && i < left; i += kFloatAccumulators) {
      multiply_column(staged, i, tile.tokens, sums);
      if (i + kSlices < left) multiply_column(staged, i + kSlices, tile.tokens, upper);
    }
  }
  for (unsigned r = 0; r < kRowTiles; ++r)
    for (unsigned n = 0; n < kTokenTiles; ++n)
      for (unsigned i = 0; i < 4; ++i) sums.of[r][n][i] = sums.of[r][n][i] + upper.of[r][n][i];
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
