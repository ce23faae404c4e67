// The i-quants whose values are entries of a code book: block b of a row is eighth b mod 8 of a
// block of 256 values, four groups of eight.
#pragma once

#include "kernels/gpu/unpack.cuh"
#include "kernels/quant/grid_codes.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

HEARTH_TABLE Table<std::uint64_t, 256> kIq2XxsBook = grids::iq2_xxs();
HEARTH_TABLE Table<std::uint64_t, 512> kIq2XsBook = grids::iq2_xs();
HEARTH_TABLE Table<std::uint64_t, 1024> kIq2SBook = grids::iq2_s();
HEARTH_TABLE Table<std::uint32_t, 256> kIq3XxsBook = grids::iq3_xxs();
HEARTH_TABLE Table<std::uint32_t, 512> kIq3SBook = grids::iq3_s();
HEARTH_TABLE Table<std::uint64_t, 2048> kIq1Book = grids::iq1();

// Group g of the codes: an entry of eight values, or two of four, with a sign for each.
HEARTH_DEVICE void set_group(Weights32& w, unsigned g, std::uint64_t entry, std::uint32_t signs) {
  w.codes[2 * g] = with_signs(static_cast<std::uint32_t>(entry), signs);
  w.codes[2 * g + 1] = with_signs(static_cast<std::uint32_t>(entry >> 32), signs >> 4);
}
// Group g with eight times a sign, and a shift of an eighth.
HEARTH_DEVICE void set_shifted_group(Weights32& w, unsigned g, std::uint64_t entry, bool down) {
  const std::uint32_t shift = down ? 0xffffffffu : 0x01010101u;
  w.codes[2 * g] = add_bytes(static_cast<std::uint32_t>(entry), shift);
  w.codes[2 * g + 1] = add_bytes(static_cast<std::uint32_t>(entry >> 32), shift);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ2_XXS>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ2_XXS>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  std::uint32_t part[2];
  load_words<2, sizeof(Block), offsetof(Block, parts), 8>(&block->parts[b % 8], part);
  for (unsigned g = 0; g < 4; ++g)
    set_group(w, g, kIq2XxsBook.at[part[0] >> (8 * g) & 255u], even_signs(part[1] >> (7 * g)));
  w.scales[0] = static_cast<int>(2 * (part[1] >> 28) + 1);
  w.d = load_f16(&block->d) / 8;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ2_XS>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ2_XS>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t pairs[2];
  load_words<2, sizeof(Block), offsetof(Block, entries), 8>(&block->entries[4 * s], pairs);
  for (unsigned g = 0; g < 4; ++g) {
    const std::uint32_t entry = pairs[g / 2] >> (g % 2 * 16);
    set_group(w, g, kIq2XsBook.at[entry & 511u], even_signs(entry >> 9));
  }
  const int scales = load_byte(&block->scales[s]);
  w.scales[0] = 2 * (scales & 15) + 1;
  w.scales[1] = 2 * (scales >> 4) + 1;
  w.d = load_f16(&block->d) / 8;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ2_S>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ2_S>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t low[1], signs[1];
  load_words<1, sizeof(Block), offsetof(Block, low), 4>(&block->low[4 * s], low);
  load_words<1, sizeof(Block), offsetof(Block, signs), 4>(&block->signs[4 * s], signs);
  const std::uint32_t high = load_byte(&block->high[s]);
  for (unsigned g = 0; g < 4; ++g) {
    const std::uint32_t index = (low[0] >> (8 * g) & 255u) | (high >> (2 * g) & 3u) << 8;
    set_group(w, g, kIq2SBook.at[index], signs[0] >> (8 * g));
  }
  const int scales = load_byte(&block->scales[s]);
  w.scales[0] = 2 * (scales & 15) + 1;
  w.scales[1] = 2 * (scales >> 4) + 1;
  w.d = load_f16(&block->d) / 8;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ3_XXS>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ3_XXS>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t indices[2], signs[1];
  load_words<2, sizeof(Block), offsetof(Block, grid), 8>(&block->grid[8 * s], indices);
  load_words<1, sizeof(Block), offsetof(Block, signs), 4>(&block->signs[s], signs);
  for (unsigned i = 0; i < 8; ++i) {
    const std::uint32_t entry = kIq3XxsBook.at[indices[i / 4] >> (i % 4 * 8) & 255u];
    w.codes[i] = with_signs(entry, even_signs(signs[0] >> (i / 2 * 7)) >> (i % 2 * 4));
  }
  w.scales[0] = static_cast<int>(2 * (signs[0] >> 28) + 1);
  w.d = load_f16(&block->d) / 4;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ3_S>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ3_S>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t low[2], signs[1];
  load_words<2, sizeof(Block), offsetof(Block, low), 8>(&block->low[8 * s], low);
  load_words<1, sizeof(Block), offsetof(Block, signs), 4>(&block->signs[4 * s], signs);
  const std::uint32_t high = load_byte(&block->high[s]);
  for (unsigned i = 0; i < 8; ++i) {
    const std::uint32_t index = (low[i / 4] >> (i % 4 * 8) & 255u) | (high >> i & 1u) << 8;
    w.codes[i] = with_signs(kIq3SBook.at[index], signs[0] >> (4 * i));
  }
  w.scales[0] = 2 * (load_byte(&block->scales[s / 2]) >> (s % 2 * 4) & 15) + 1;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ1_S>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ1_S>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t low[1];
  load_words<1, sizeof(Block), offsetof(Block, low), 4>(&block->low[4 * s], low);
  const std::uint32_t high = load_half(&block->high[s]);
  for (unsigned g = 0; g < 4; ++g) {
    const std::uint32_t index = (low[0] >> (8 * g) & 255u) | (high >> (3 * g) & 7u) << 8;
    set_shifted_group(w, g, kIq1Book.at[index], high >> 15 != 0);
  }
  w.scales[0] = static_cast<int>(2 * (high >> 12 & 7u) + 1);
  w.d = load_f16(&block->d) / 8;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ1_M>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ1_M>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t low[1], scales[2];
  load_words<1, sizeof(Block), offsetof(Block, low), 4>(&block->low[4 * s], low);
  load_words<2, sizeof(Block), offsetof(Block, scales)>(block->scales, scales);
  const std::uint32_t high = load_half(&block->high[2 * s]);
  for (unsigned g = 0; g < 4; ++g) {
    const std::uint32_t nibble = high >> (4 * g) & 15u;
    const std::uint32_t index = (low[0] >> (8 * g) & 255u) | (nibble & 7u) << 8;
    set_shifted_group(w, g, kIq1Book.at[index], nibble > 7);
  }
  // Parts 2 s and 2 s + 1 lie in the u16 s / 2.
  const std::uint32_t own = (s < 4 ? scales[0] : scales[1]) >> (s / 2 % 2 * 16);
  for (unsigned part = 0; part < 2; ++part)
    w.scales[part] = static_cast<int>(2 * (own >> ((2 * s + part) % 4 * 3) & 7u) + 1);
  const std::uint32_t d = (scales[0] >> 12 & 15u) | (scales[0] >> 28) << 4 |
                          (scales[1] >> 12 & 15u) << 8 | (scales[1] >> 28) << 12;
  w.d = f32_of_f16(static_cast<std::uint16_t>(d)) / 8;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
