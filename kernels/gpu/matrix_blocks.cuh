// matrix_product of the block formats: eight blocks of each row and token are unpacked to signed
// bytes in shared memory, slice j multiplies the j-th of them on the matrix units and scales the
// exact sums.
#pragma once

#include "kernels/gpu/matrix_tile.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// A block of 32 codes of each row. Halves change places every four rows, and blocks are a half
// apart, for the banks.
template <unsigned kRows>
struct StagedCodes {
  Word4 halves[2 * kRows + 1];
};
HEARTH_DEVICE unsigned place_of_half(unsigned row, unsigned half) {
  return 2 * row + (half ^ (row / 4 % 2));
}
template <unsigned kRows>
HEARTH_DEVICE void put_codes(const std::uint32_t (&codes)[8], unsigned row,
                             StagedCodes<kRows>& to) {
  for (unsigned half = 0; half < 2; ++half)
    to.halves[place_of_half(row, half)] =
        Word4{{codes[4 * half], codes[4 * half + 1], codes[4 * half + 2], codes[4 * half + 3]}};
}
template <unsigned kRows>
HEARTH_DEVICE std::uint32_t word_of(const StagedCodes<kRows>& codes, unsigned row, unsigned k) {
  return codes.halves[place_of_half(row, k / 4)].word[k % 4];
}

// What a block of a row needs beside its codes. The integers are f32, exact in it.
template <WeightFormat format>
struct BlockTerms {
  static constexpr int kParts = Codec<format>::kPart == 16 ? 2 : 1;
  static constexpr bool kHasMinimum = Codec<format>::kHasMinimum;
  // The integer scales of formats with small blocks are 1, and so are their minima.
  static constexpr int kScales = traits(format).values_per_block == 32 ? 0 : kParts;
  static constexpr int kM = 1 + kScales;  // d, scales, m, minima
  static constexpr int kRowTerms = kHasMinimum ? 2 * kM : kM;
  static constexpr int kTokenTerms = kHasMinimum ? 1 + kParts : 1;  // scale, sums of codes

  float row[kRowTerms];
  float token[kTokenTerms];
};

// Eight blocks of all rows and tokens.
template <WeightFormat format>
struct StagedBlocks {
  using Terms = BlockTerms<format>;
  StagedCodes<kTileRows> codes[kSlices];
  StagedCodes<kTileTokens> x_codes[kSlices];
  float row_terms[Terms::kRowTerms][kSlices][kTileRows + 4];
  float token_terms[Terms::kTokenTerms][kSlices][kTileTokens + 4];
};

template <WeightFormat format>
HEARTH_DEVICE void stage_weights(const std::uint8_t* row, unsigned b, StagedBlocks<format>& to) {
  using Terms = BlockTerms<format>;
  Weights32 w;
  unpack(Format<format>{}, row, b, w);
  if (w.offset != 0) {
    const std::uint32_t down = ((0u - static_cast<std::uint32_t>(w.offset)) & 0xffu) * 0x01010101u;
    for (std::uint32_t& word : w.codes) word = add_bytes(word, down);
  }
  const unsigned j = staged_eighth(), r = staged_row();
  put_codes(w.codes, r, to.codes[j]);
  to.row_terms[0][j][r] = w.d;
  for (int i = 0; i < Terms::kScales; ++i)
    to.row_terms[1 + i][j][r] = static_cast<float>(w.scales[i]);
  if constexpr (Terms::kHasMinimum) {
    to.row_terms[Terms::kM][j][r] = w.m;
    for (int i = 0; i < Terms::kScales; ++i)
      to.row_terms[Terms::kM + 1 + i][j][r] = static_cast<float>(w.minima[i]);
  }
}

template <WeightFormat format>
HEARTH_DEVICE void stage_token(const Activations& x, std::uint32_t x_row, float weight, unsigned b,
                               unsigned token, StagedBlocks<format>& to) {
  const std::uint64_t first = std::uint64_t{x_row} * x.stride + b * kActivationBlock;
  const unsigned j = staged_eighth();
  std::uint32_t codes[8];
  load_bytes<8, 16>(x.codes + first, codes);
  put_codes(codes, token, to.x_codes[j]);
  to.token_terms[0][j][token] = x.scales[first / kActivationBlock] * weight;
  if constexpr (BlockTerms<format>::kHasMinimum) {
    const std::uint32_t both = load_word(x.sums + first / 16);
    const int sums[2] = {static_cast<std::int16_t>(both), static_cast<std::int16_t>(both >> 16)};
    if constexpr (BlockTerms<format>::kParts == 2) {
      to.token_terms[1][j][token] = static_cast<float>(sums[0]);
      to.token_terms[2][j][token] = static_cast<float>(sums[1]);
    } else {
      to.token_terms[1][j][token] = static_cast<float>(sums[0] + sums[1]);
    }
  }
}

// The exact sums of a tile as f32. They start at the bits of 1.5 × 2^23 and stay within 2^22 of it,
// so that a subtraction makes them floats: GPUs have few units that convert.
HEARTH_DEVICE void sums_to_floats(const int (&sums)[4], float (&dots)[4]) {
  for (unsigned i = 0; i < 4; ++i)
    dots[i] = float_of(static_cast<std::uint32_t>(sums[i])) - 0x1.8p23f;
}
template <int kParts>
HEARTH_DEVICE void dots_of(const RowTile& a, const ColumnTile& b, float (&dots)[kParts][4]) {
  constexpr int kStart = 0x4b400000;
  int sums[4] = {kStart, kStart, kStart, kStart};
  if constexpr (kParts == 1) {
    multiply_tiles(a, b, sums);
    sums_to_floats(sums, dots[0]);
  } else {
    multiply_half_tiles<0>(a, b, sums);
    sums_to_floats(sums, dots[0]);
    for (int& sum : sums) sum = kStart;
    multiply_half_tiles<1>(a, b, sums);
    sums_to_floats(sums, dots[1]);
  }
}

// x[0] w[0], or x[0] w[0] + x[1] w[1]: exact but for NVFP4, where the sum is rounded once
// (kernels/arithmetic.h). Without weights these are 1.
template <int kWeights>
HEARTH_DEVICE float weighed(float first, float second, const float* w) {
  if constexpr (kWeights == 0) return first;
  if constexpr (kWeights == 1) return first * w[0];
  return fma(second, w[1], first * w[0]);
}

// Slice j multiplies block j of what is staged.
template <WeightFormat format>
HEARTH_DEVICE void multiply_slice(const StagedBlocks<format>& staged, unsigned tokens,
                                  SliceSums& sums) {
  using Terms = BlockTerms<format>;
  constexpr int kSecond = Terms::kParts - 1;
  const unsigned j = slice_index();
  RowTile rows[kRowTiles];
  float row_terms[kRowTiles][2][Terms::kRowTerms];
  for (unsigned r = 0; r < kRowTiles; ++r) {
    load_tile([&](unsigned row, unsigned k) { return word_of(staged.codes[j], 16 * r + row, k); },
              rows[r]);
    for (unsigned h = 0; h < 2; ++h)
      for (int i = 0; i < Terms::kRowTerms; ++i)
        row_terms[r][h][i] = staged.row_terms[i][j][row_of_sum(r, h)];
  }
  for (unsigned n = 0; n < kTokenTiles; ++n) {
    if (8 * n >= tokens) continue;
    ColumnTile columns;
    load_tile(
        [&](unsigned token, unsigned k) { return word_of(staged.x_codes[j], 8 * n + token, k); },
        columns);
    float x[2][Terms::kTokenTerms];
    for (unsigned c = 0; c < 2; ++c)
      for (int i = 0; i < Terms::kTokenTerms; ++i)
        x[c][i] = staged.token_terms[i][j][token_of_sum(n, c)];
    for (unsigned r = 0; r < kRowTiles; ++r) {
      float dots[Terms::kParts][4];
      dots_of<Terms::kParts>(rows[r], columns, dots);
      for (unsigned i = 0; i < 4; ++i) {
        const float* w = row_terms[r][i / 2];
        const float* t = x[i % 2];
        float& acc = sums.of[r][n][i];
        acc = fma(weighed<Terms::kScales>(dots[0][i], dots[kSecond][i], w + 1), w[0] * t[0], acc);
        if constexpr (Terms::kHasMinimum) {
          const float* m = w + Terms::kM;
          acc = fma(weighed<Terms::kScales>(t[1], t[1 + kSecond], m + 1), m[0] * t[0], acc);
        }
      }
    }
  }
}

// A collective of the block: adds the products of a matrix to `sums`.
template <WeightFormat format>
HEARTH_DEVICE void multiply_tile(const ProductTask& task, const std::byte* matrix,
                                 const StagedRows& rows, const Tile& tile,
                                 StagedBlocks<format>& staged, SliceSums& sums) {
  const auto* row = reinterpret_cast<const std::uint8_t*>(matrix) + rows.weights;
  const unsigned blocks = task.columns / kActivationBlock;
  HEARTH_NOT_UNROLLED
  for (unsigned first = 0; first < blocks; first += kSlices) {
    sync_threads();  // what lies there has been read
    const unsigned b = first + staged_eighth();
    if (b < blocks) {
      stage_weights<format>(row, b, staged);
      for (unsigned i = 0; i < kStagedTokens; ++i)
        if (i * kTileRows < tile.tokens)
          stage_token<format>(task.x, rows.x[i], rows.x_weight[i], b, staged_row() + i * kTileRows,
                              staged);
    }
    sync_threads();
    if (first + slice_index() < blocks) multiply_slice<format>(staged, tile.tokens, sums);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
