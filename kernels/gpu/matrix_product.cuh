// Products with any number of rows of activations: what matrix_tile.cuh shares out, from the matrix
// to the output rows or to the activations of the next product.
#pragma once

#include "kernels/gpu/matrix_blocks.cuh"
#include "kernels/gpu/matrix_floats.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

struct HiddenTileShared {
  float of[kTileTokens][kTileRows + 4];
};

template <WeightFormat format>
struct StagedTile {
  using Type = StagedBlocks<format>;
};
template <>
struct StagedTile<WeightFormat::kF32> {
  using Type = StagedFloats;
};
template <>
struct StagedTile<WeightFormat::kF16> {
  using Type = StagedFloats;
};
template <>
struct StagedTile<WeightFormat::kBF16> {
  using Type = StagedFloats;
};

// One after the other.
template <WeightFormat format>
union MatrixShared {
  typename StagedTile<format>::Type staged;
  FoldShared fold;
  HiddenTileShared hidden;
};

HEARTH_DEVICE void store_outputs(const ProductTask& task, const ProductJob& job, const Tile& tile,
                                 const float (&out)[kTokenTiles]) {
  const std::uint32_t row = tile.first_row + stored_row();
  if (row >= task.rows) return;
  for (unsigned n = 0; n < kTokenTiles; ++n) {
    const unsigned token = stored_token(n);
    if (token < tile.tokens)
      output_row(task, job, job.begin + tile.first_token + token)[row] = out[n];
  }
}

// A collective of the block: the 32 hidden values of each token, quantized by eight threads.
HEARTH_DEVICE void store_hidden(const ProductTask& task, const ProductJob& job, const Tile& tile,
                                const float (&gate)[kTokenTiles], const float (&up)[kTokenTiles],
                                HiddenTileShared& shared) {
  const bool exists = tile.first_row + stored_row() < task.rows;
  sync_threads();  // the last fold has been read
  for (unsigned n = 0; n < kTokenTiles; ++n)
    shared.of[stored_token(n)][stored_row()] =
        exists ? activate(task.activation, gate[n], up[n]) : 0.0f;
  sync_threads();
  const unsigned at = staged_eighth() * kValuesPerThread;
  for (unsigned i = 0; i < kStagedTokens; ++i) {
    const unsigned token = staged_row() + i * kTileRows;
    float x[kValuesPerThread];
    for (unsigned k = 0; k < kValuesPerThread; ++k) x[k] = shared.of[token][at + k];
    const QuantizedFour four = quantize_four(x);
    if (token < tile.tokens)
      store_four(task.hidden, job.begin + tile.first_token + token, tile.first_row + at, x, four);
  }
}

// Blocks that shall have room on a multiprocessor at once: one computes while another loads. The
// float formats have twice the sums.
template <WeightFormat format>
inline constexpr unsigned kTilesAtOnce = takes_quantized_activations(format) ? 2 : 1;

// Block (tokens, 32 rows of the matrix, job): every grid_x()-th 64 tokens of the job.
template <WeightFormat format>
HEARTH_KERNEL(kTileThreads, kTilesAtOnce<format>)
multiply_matrix(ProductTask task) {
  wait_for_previous();
  HEARTH_SHARED(MatrixShared<format>, shared);
  const ProductJob job = job_of(task, block_z());
  HEARTH_NOT_UNROLLED
  for (std::uint32_t first = block_x() * kTileTokens; first < job.rows;
       first += grid_x() * kTileTokens) {
    const std::uint32_t left = job.rows - first;
    const Tile tile{block_y() * kTileRows, first, left < kTileTokens ? left : kTileTokens};
    const StagedRows rows = staged_rows<format>(task, job, tile);
    const std::uint32_t row = tile.first_row + stored_row();
    float gate[kTokenTiles] = {}, out[kTokenTiles] = {};
    HEARTH_NOT_UNROLLED
    for (unsigned m = 0; m < task.matrices; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) gate[n] = out[n];
      SliceSums sums{};
      multiply_tile<format>(task, m == 0 ? job.matrices[0] : job.matrices[1], rows, tile,
                            shared.staged, sums);
      fold(tile, sums, shared.fold, out);
      add_terms(m == 0 ? task.terms[0] : task.terms[1], task, job,
                row < task.rows ? row : task.rows - 1, out);
    }
    if (task.matrices == 2)
      store_hidden(task, job, tile, gate, out, shared.hidden);
    else
      store_outputs(task, job, tile, out);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
