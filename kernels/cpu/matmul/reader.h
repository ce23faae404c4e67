// Both sides of a product of a block format, row by row.
#pragma once

#include "kernels/cpu/matmul/prefetch.h"
#include "kernels/cpu/matmul/unpack.h"
#include "kernels/cpu/matmul/unpack_grids.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {
namespace {

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

// What the codes of a tile are above the signed codes of the format.
template <typename Wide, WeightFormat format>
constexpr int offset_of() {
  return Operand<format>::kSigned ? Wide::kSignedOffset : Operand<format>::kOffset;
}

// The rows of a matrix of a given format, tile by tile. The last tile of a row that ends before 256
// values is completed with zeros in `rest`, so that nothing past the matrix is read.
template <WeightFormat format>
struct RowReader {
  using F = Operand<format>;

  const std::uint8_t* data;
  std::size_t row_bytes;
  std::uint32_t blocks;
  std::uint32_t tiles;
  std::uint32_t rest_bytes;  // of the last tile, 0 where it is whole

  explicit RowReader(const WeightMatrix& weights)
      : data(reinterpret_cast<const std::uint8_t*>(weights.data)),
        row_bytes(std::size_t{weights.columns / F::kBlockValues} * F::kBlockBytes),
        blocks(weights.columns / kActivationBlock),
        tiles((blocks + kTileBlocks - 1) / kTileBlocks),
        rest_bytes(static_cast<std::uint32_t>(row_bytes % F::kTileBytes)) {}

  HEARTH_INLINE const std::uint8_t* tile(std::uint32_t row, std::uint32_t index) const {
    return data + row * row_bytes + std::size_t{index} * F::kTileBytes;
  }
  HEARTH_INLINE bool is_whole(std::uint32_t index) const {
    return F::kBlockValues == kTileValues || rest_bytes == 0 || index + 1 < tiles;
  }
  // The last tile of a row that ends in it, completed with zeros.
  HEARTH_INLINE void copy_rest(std::uint32_t row, std::uint8_t (&rest)[F::kTileBytes]) const {
    if (is_whole(tiles - 1)) return;
    const std::uint8_t* at = tile(row, tiles - 1);
    for (std::uint32_t i = 0; i < F::kTileBytes; ++i) rest[i] = i < rest_bytes ? at[i] : 0;
  }

  // What to ask for before tile `index` of kRows rows from `row` on.
  template <std::uint32_t kRows>
  HEARTH_INLINE void prefetch_after(std::uint32_t row, std::uint32_t index) const {
    constexpr std::size_t kBytes = std::size_t{kRows} * F::kTileBytes;
    prefetch<kBytes>(reinterpret_cast<std::uintptr_t>(data) + (row + kRows) * row_bytes +
                     index * kBytes + kBytesAhead);
  }

  // A tile of a row that comes later, or of none where the matrix ends before.
  HEARTH_INLINE void prefetch_tile(std::uint32_t row, std::uint32_t index) const {
    prefetch<F::kTileBytes>(reinterpret_cast<std::uintptr_t>(data) + row * row_bytes +
                            std::size_t{index} * F::kTileBytes);
  }
};

}  // namespace
}  // namespace hearth::kernels
