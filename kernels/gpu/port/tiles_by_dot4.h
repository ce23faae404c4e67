// Products of tiles (kernels/gpu/port.h) where there are no matrix units: each lane holds the whole
// rows and columns that its sums need. Included by ports, after dot4.
#pragma once

#include <cstdint>

namespace hearth::kernels::HEARTH_GPU_TARGET::by_dot4 {

struct RowTile {
  std::uint32_t words[2][8];
};
struct ColumnTile {
  std::uint32_t words[2][8];
};

template <typename WordAt>
HEARTH_DEVICE void load_tile(WordAt word_at, RowTile& tile) {
  const unsigned row = thread_index() % 32 / 4;
  for (unsigned i = 0; i < 8; ++i) {
    tile.words[0][i] = word_at(row, i);
    tile.words[1][i] = word_at(row + 8, i);
  }
}
template <typename WordAt>
HEARTH_DEVICE void load_tile(WordAt word_at, ColumnTile& tile) {
  const unsigned column = thread_index() % 4 * 2;
  for (unsigned i = 0; i < 8; ++i) {
    tile.words[0][i] = word_at(column, i);
    tile.words[1][i] = word_at(column + 1, i);
  }
}

template <unsigned half>
HEARTH_DEVICE void multiply_half_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
  for (unsigned i = 4 * half; i < 4 * half + 4; ++i)
    for (unsigned place = 0; place < 4; ++place)
      sums[place] = dot4(a.words[place / 2][i], b.words[place % 2][i], sums[place]);
}
HEARTH_DEVICE void multiply_tiles(const RowTile& a, const ColumnTile& b, int (&sums)[4]) {
  multiply_half_tiles<0>(a, b, sums);
  multiply_half_tiles<1>(a, b, sums);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET::by_dot4
