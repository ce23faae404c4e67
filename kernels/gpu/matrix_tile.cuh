// How a block of threads of matrix_product shares its work, for all formats. 256 threads compute 32
// rows of a matrix for up to 64 rows of activations (tokens) at a time. Slice j of them, threads 32
// j to 32 j + 31, has accumulator j of kernels/arithmetic.h of all 32 × 64 outputs, so that a
// thread holds one sum for each of 64 outputs, and what the eight slices have is folded once at the
// end.
#pragma once

#include "kernels/gpu/product.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kTileThreads = 256;
inline constexpr unsigned kTileRows = kActivationBlock;
inline constexpr unsigned kTileTokens = 64;
inline constexpr unsigned kSlices = kBlockAccumulators;
inline constexpr unsigned kSliceThreads = kTileThreads / kSlices;
static_assert(kSliceThreads == 32 && kTileRows == 32);

HEARTH_DEVICE unsigned slice_index() { return thread_index() / kSliceThreads; }

// The sums of a thread: of row tile r and column tile n, in the order of multiply_tiles (port.h).
inline constexpr unsigned kRowTiles = kTileRows / 16;
inline constexpr unsigned kTokenTiles = kTileTokens / 8;
struct SliceSums {
  float of[kRowTiles][kTokenTiles][4];
};
// Where those lie: the row of sums 2 h and 2 h + 1, the token of sums c and c + 2.
HEARTH_DEVICE unsigned row_of_sum(unsigned r, unsigned h) {
  return 16 * r + 8 * h + thread_index() % kSliceThreads / 4;
}
HEARTH_DEVICE unsigned token_of_sum(unsigned n, unsigned c) {
  return 8 * n + thread_index() % 4 * 2 + c;
}

// The 32 rows of a matrix and the tokens of a job that a block of threads works on.
struct Tile {
  std::uint32_t first_row;
  std::uint32_t first_token;
  unsigned tokens;  // 1 to kTileTokens
};

// What a thread brings to shared memory: of each eight columns or blocks its eighth, for row t / 8
// of the weights and for tokens t / 8 and t / 8 + 32. Past the end are the last ones once more.
inline constexpr unsigned kStagedTokens = kTileTokens / kTileRows;
struct StagedRows {
  std::uint64_t weights;  // first byte in a matrix
  std::uint32_t x[kStagedTokens];
  float x_weight[kStagedTokens];  // 1, or what scales and values are multiplied with first
};
HEARTH_DEVICE unsigned staged_row() { return thread_index() / 8; }
HEARTH_DEVICE unsigned staged_eighth() { return thread_index() % 8; }

template <WeightFormat format>
HEARTH_DEVICE StagedRows staged_rows(const ProductTask& task, const ProductJob& job,
                                     const Tile& tile) {
  const std::uint32_t row = tile.first_row + staged_row();
  const std::uint64_t row_bytes = std::uint64_t{task.columns} / traits(format).values_per_block *
                                  traits(format).bytes_per_block;
  StagedRows rows{(row < task.rows ? row : task.rows - 1) * row_bytes, {}, {}};
  for (unsigned i = 0; i < kStagedTokens; ++i) {
    const unsigned token = staged_row() + i * kTileRows;
    const std::uint32_t pair =
        job.begin + tile.first_token + (token < tile.tokens ? token : tile.tokens - 1);
    rows.x[i] = input_row(task, job, pair);
    rows.x_weight[i] = task.x_weights != nullptr ? task.x_weights[pair] : 1.0f;
  }
  return rows;
}

// The outputs that a thread stores: one row of the matrix, token t / 32 of each eight.
HEARTH_DEVICE unsigned stored_row() { return thread_index() % kTileRows; }
HEARTH_DEVICE unsigned stored_token(unsigned n) { return 8 * n + thread_index() / kTileRows; }

// Two column tiles of all slices at a time; the padding is for the banks.
struct FoldShared {
  float of[kSlices][16][kTileRows + 4];
};

// A collective of the block. What lay in `shared` is overwritten.
HEARTH_DEVICE void fold(const Tile& tile, const SliceSums& sums, FoldShared& shared,
                        float (&out)[kTokenTiles]) {
  for (unsigned n = 0; n < kTokenTiles; n += 2) {
    if (8 * n >= tile.tokens) continue;
    sync_threads();
    for (unsigned i = 0; i < 2 * 4 * kRowTiles; ++i) {
      const unsigned r = i / 8, half = i / 4 % 2, sum = i % 4;
      shared.of[slice_index()][token_of_sum(half, sum % 2)][row_of_sum(r, sum / 2)] =
          sums.of[r][n + half][sum];
    }
    sync_threads();
    for (unsigned half = 0; half < 2; ++half) {
      float acc[kSlices];
      for (unsigned j = 0; j < kSlices; ++j)
        acc[j] = shared.of[j][stored_token(half)][stored_row()];
      out[n + half] = fold8(acc);
    }
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
