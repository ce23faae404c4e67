// The K-quants and IQ4_XS: block b of a row is eighth b mod 8 of a block of 256 values.
#pragma once

#include "kernels/gpu/unpack.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Byte `index` of three words holds scale and minimum of eighth s of Q4_K and Q5_K
// (kernels/quant/six_bit_scales.h).
HEARTH_DEVICE void unpack_six_bits(const std::uint32_t (&packed)[3], unsigned s, Weights32& w) {
  const unsigned shift = s % 4 * 8;
  const std::uint32_t scale = packed[0] >> shift, minimum = packed[1] >> shift;
  const std::uint32_t low = packed[2] >> shift;
  const bool first = s < 4;
  w.scales[0] = static_cast<int>(first ? scale & 63u : (low & 15u) | (scale >> 6 & 3u) << 4);
  w.minima[0] =
      static_cast<int>(first ? minimum & 63u : (low >> 4 & 15u) | (minimum >> 6 & 3u) << 4);
}

// A word of two f16: d and, negated, dmin.
HEARTH_DEVICE void unpack_scale_and_minimum(std::uint32_t both, Weights32& w) {
  w.d = f32_of_f16(static_cast<std::uint16_t>(both));
  w.m = -f32_of_f16(static_cast<std::uint16_t>(both >> 16));
}

// 32 nibbles, low or high ones of the same bytes in turn.
template <unsigned... kSteps>
HEARTH_DEVICE void unpack_paired_nibbles(const std::uint8_t* bytes, unsigned shift, Weights32& w) {
  load_words<8, kSteps...>(bytes, w.codes);
  for (std::uint32_t& word : w.codes) word = word >> shift & 0x0f0f0f0fu;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ4_K>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ4_K>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t head[4];
  load_words<4, sizeof(Block)>(block, head);
  unpack_paired_nibbles<sizeof(Block), offsetof(Block, nibbles)>(block->nibbles + s / 2 * 32,
                                                                 s % 2 * 4, w);
  unpack_scale_and_minimum(head[0], w);
  unpack_six_bits({head[1], head[2], head[3]}, s, w);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ5_K>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ5_K>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t head[4], high[8];
  load_words<4, sizeof(Block)>(block, head);
  load_words<8, sizeof(Block), offsetof(Block, high_bits)>(block->high_bits, high);
  unpack_paired_nibbles<sizeof(Block), offsetof(Block, nibbles)>(block->nibbles + s / 2 * 32,
                                                                 s % 2 * 4, w);
  for (unsigned i = 0; i < 8; ++i) w.codes[i] |= (high[i] >> s & 0x01010101u) << 4;
  unpack_scale_and_minimum(head[0], w);
  unpack_six_bits({head[1], head[2], head[3]}, s, w);
}

// Its words lie askew in two planes: until they are put together they take the registers of two.
template <>
inline constexpr unsigned kBlocksTogether<WeightFormat::kQ6_K> = 2;
HEARTH_DEVICE void unpack(Format<WeightFormat::kQ6_K>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ6_K>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8, half = s / 4, quarter = s % 4;
  std::uint32_t high[8];
  load_words<8, sizeof(Block), offsetof(Block, high_bits)>(block->high_bits + 32 * half, high);
  unpack_paired_nibbles<sizeof(Block)>(block->nibbles + 64 * half + 32 * (quarter % 2),
                                       quarter / 2 * 4, w);
  for (unsigned i = 0; i < 8; ++i) w.codes[i] |= (high[i] >> (2 * quarter) & 0x03030303u) << 4;
  for (unsigned part = 0; part < 2; ++part)
    w.scales[part] = static_cast<std::int8_t>(load_byte(&block->scales[2 * s + part]));
  w.offset = 32;
  w.d = load_f16(&block->d);
}

// Bits 2 j and 2 j + 1 of byte 32 h + i belong to value 128 h + 32 j + i.
template <unsigned... kSteps>
HEARTH_DEVICE void unpack_crumbs(const std::uint8_t* bytes, unsigned s, Weights32& w) {
  load_words<8, kSteps...>(bytes + s / 4 * 32, w.codes);
  for (std::uint32_t& word : w.codes) word = word >> (s % 4 * 2) & 0x03030303u;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ2_K>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ2_K>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t both[1];
  unpack_crumbs<sizeof(Block), offsetof(Block, codes)>(block->codes, s, w);
  load_words<1, sizeof(Block), offsetof(Block, d)>(&block->d, both);
  for (unsigned part = 0; part < 2; ++part) {
    const int byte = load_byte(&block->scales[2 * s + part]);
    w.scales[part] = byte & 15;
    w.minima[part] = byte >> 4;
  }
  unpack_scale_and_minimum(both[0], w);
}

// Its words lie askew in two planes: until they are put together they take the registers of two.
template <>
inline constexpr unsigned kBlocksTogether<WeightFormat::kQ3_K> = 2;
HEARTH_DEVICE void unpack(Format<WeightFormat::kQ3_K>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ3_K>::Block;
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t high[8];
  unpack_crumbs<sizeof(Block), offsetof(Block, codes)>(block->codes, s, w);
  load_words<8, sizeof(Block), offsetof(Block, high_bits)>(block->high_bits, high);
  for (unsigned i = 0; i < 8; ++i) w.codes[i] |= (high[i] >> s & 0x01010101u) << 2;
  for (unsigned part = 0; part < 2; ++part) {
    const unsigned p = 2 * s + part;
    const int low = load_byte(&block->scales[p % 8]) >> (p / 8 * 4) & 15;
    const int top = load_byte(&block->scales[8 + p % 4]) >> (p / 4 * 2) & 3;
    w.scales[part] = low + 16 * top - 32;
  }
  w.offset = 4;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ4_XS>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ4_XS>::Block;
  constexpr NibbleTable kTable = nibble_table(kIq4Values);
  const Block* block = block_of<Block>(row, b / 8);
  const unsigned s = b % 8;
  std::uint32_t head[2], packed[4];
  load_words<2, sizeof(Block)>(block, head);
  load_words<4, sizeof(Block), offsetof(Block, nibbles), 16>(block->nibbles + 16 * s, packed);
  look_up_nibbles<4>(kTable, packed, w.codes);
  const std::uint32_t low = head[1] >> (4 * s) & 15u, high = head[0] >> (16 + 2 * s) & 3u;
  w.scales[0] = static_cast<int>(low | high << 4) - 32;
  w.d = f32_of_f16(static_cast<std::uint16_t>(head[0]));
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
