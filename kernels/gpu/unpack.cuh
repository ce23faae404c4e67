// A block of 32 weights as the codes and integers of kernels/arithmetic.h: what formats share, and
// those with 32 or 64 values; K-quants are in unpack_k.cuh, code books in unpack_grids.cuh. The
// layouts are drawn in kernels/quant/<format>.h; a thread takes block b of a row whole.
//
// Codes may stay above what they stand for by an offset, which the product takes off by the sums of
// the activations: an exact integer either way, and one multiplication instead of 32 subtractions.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/quant/codecs.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

struct Weights32 {
  std::uint32_t codes[8];  // four signed bytes a word, in order of the values
  int scales[2];           // of the halves; formats with parts of 32 use the first
  int minima[2];
  int offset = 0;  // codes are this much too large
  float d;
  float m;
};

template <WeightFormat format>
struct Format {};

// Blocks of a row that a thread loads before it uses the first, where registers hold as many.
template <WeightFormat format>
inline constexpr unsigned kBlocksTogether = 4;

// Loads n words from a place whose distances from the start of the matrix, a multiple of 16 bytes,
// are multiples of kSteps.
template <unsigned n, unsigned... kSteps>
HEARTH_DEVICE void load_words(const void* at, std::uint32_t* words) {
  constexpr unsigned kAll = (16u | ... | kSteps);
  std::uint32_t loaded[n];
  load_bytes<n, (kAll & (0u - kAll))>(at, loaded);
  for (unsigned i = 0; i < n; ++i) words[i] = loaded[i];
}

HEARTH_DEVICE float load_f16(const void* at) { return f32_of_f16(load_half(at)); }

// Value i of a row of a float format.
template <WeightFormat format>
HEARTH_DEVICE float load_value(const std::uint8_t* row, std::uint32_t i) {
  if constexpr (format == WeightFormat::kF32)
    return float_of(load_word(row + 4 * std::uint64_t{i}));
  const std::uint16_t bits = load_half(row + 2 * std::uint64_t{i});
  return format == WeightFormat::kF16 ? f32_of_f16(bits) : f32_of_bf16(bits);
}

// Bits 0 to 3 to bytes 0 to 3.
HEARTH_DEVICE std::uint32_t spread(std::uint32_t bits) {
  return (bits & 15u) * 0x00204081u & 0x01010101u;
}
// Negates the bytes of `codes`, none of which is 0, whose bits in `signs` are set.
HEARTH_DEVICE std::uint32_t with_signs(std::uint32_t codes, std::uint32_t signs) {
  const std::uint32_t ones = spread(signs);
  return (codes ^ ones * 0xffu) + ones;
}
// Each byte plus the same byte of b, without carries from one to the next.
HEARTH_DEVICE std::uint32_t add_bytes(std::uint32_t a, std::uint32_t b) {
  return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}
// Seven signs and an eighth that makes their number even.
HEARTH_DEVICE std::uint32_t even_signs(std::uint32_t seven) {
  seven &= 127u;
  return seven | static_cast<std::uint32_t>(count_ones(seven) & 1) << 7;
}

// The low nibbles of `count` words, then the high ones.
template <unsigned count>
HEARTH_DEVICE void split_nibbles(const std::uint32_t* packed, std::uint32_t* codes) {
  for (unsigned i = 0; i < count; ++i) {
    codes[i] = packed[i] & 0x0f0f0f0fu;
    codes[i + count] = packed[i] >> 4 & 0x0f0f0f0fu;
  }
}

// The same with each nibble looked up in a table of 16 bytes.
struct NibbleTable {
  std::uint32_t words[4];
};
HEARTH_DEVICE constexpr NibbleTable nibble_table(const std::int8_t (&values)[16]) {
  NibbleTable table{};
  for (unsigned i = 0; i < 16; ++i)
    table.words[i / 4] |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(values[i]))
                          << (8 * (i % 4));
  return table;
}
// Four nibbles, the low 16 bits of `four`, to four bytes.
HEARTH_DEVICE std::uint32_t look_up(const NibbleTable& table, std::uint32_t four) {
  const std::uint32_t low = byte_permute(table.words[0], table.words[1], four);
  const std::uint32_t high = byte_permute(table.words[2], table.words[3], four);
  return byte_permute(low, high, 0x3210u | (four >> 1 & 0x4444u));
}
template <unsigned count>
HEARTH_DEVICE void look_up_nibbles(const NibbleTable& table, const std::uint32_t* packed,
                                   std::uint32_t* codes) {
  for (unsigned i = 0; i < count; ++i) {
    const std::uint32_t first = look_up(table, packed[i]);
    const std::uint32_t second = look_up(table, packed[i] >> 16);
    codes[i] = byte_permute(first, second, 0x6420u);
    codes[i + count] = byte_permute(first, second, 0x7531u);
  }
}

template <typename Block>
HEARTH_DEVICE const Block* block_of(const std::uint8_t* row, unsigned index) {
  return reinterpret_cast<const Block*>(row) + index;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ8_0>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ8_0>::Block;
  const Block* block = block_of<Block>(row, b);
  load_words<8, sizeof(Block), offsetof(Block, codes)>(block->codes, w.codes);
  w.scales[0] = 1;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ4_0>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ4_0>::Block;
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4];
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  split_nibbles<4>(packed, w.codes);
  w.scales[0] = 1;
  w.offset = 8;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ4_1>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ4_1>::Block;
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4];
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  split_nibbles<4>(packed, w.codes);
  w.scales[0] = 1;
  w.minima[0] = 1;
  w.d = load_f16(&block->d);
  w.m = load_f16(&block->m);
}

// Bit i of `bits` becomes bit 4 of code i.
HEARTH_DEVICE void add_fifth_bits(std::uint32_t bits, Weights32& w) {
  for (unsigned i = 0; i < 8; ++i) w.codes[i] |= spread(bits >> (4 * i)) << 4;
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ5_0>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ5_0>::Block;
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4], bits[1];
  load_words<1, sizeof(Block), offsetof(Block, bits)>(block->bits, bits);
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  split_nibbles<4>(packed, w.codes);
  add_fifth_bits(bits[0], w);
  w.scales[0] = 1;
  w.offset = 16;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kQ5_1>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kQ5_1>::Block;
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4], bits[1];
  load_words<1, sizeof(Block), offsetof(Block, bits)>(block->bits, bits);
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  split_nibbles<4>(packed, w.codes);
  add_fifth_bits(bits[0], w);
  w.scales[0] = 1;
  w.minima[0] = 1;
  w.d = load_f16(&block->d);
  w.m = load_f16(&block->m);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kIQ4_NL>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kIQ4_NL>::Block;
  constexpr NibbleTable kTable = nibble_table(kIq4Values);
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4];
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  look_up_nibbles<4>(kTable, packed, w.codes);
  w.scales[0] = 1;
  w.d = load_f16(&block->d);
}

HEARTH_DEVICE void unpack(Format<WeightFormat::kMXFP4>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kMXFP4>::Block;
  constexpr NibbleTable kTable = nibble_table(kDoubledE2m1);
  const Block* block = block_of<Block>(row, b);
  std::uint32_t packed[4];
  load_words<4, sizeof(Block), offsetof(Block, nibbles)>(block->nibbles, packed);
  look_up_nibbles<4>(kTable, packed, w.codes);
  w.scales[0] = 1;
  const std::uint32_t exponent = load_byte(&block->exponent);
  w.d = float_of(exponent < 2 ? 0x200000u << exponent : (exponent - 1) << 23);
}

// Two parts of eight bytes. The scales are too large for products in int32: see multiply().
HEARTH_DEVICE void unpack(Format<WeightFormat::kNVFP4>, const std::uint8_t* row, unsigned b,
                          Weights32& w) {
  using Block = Codec<WeightFormat::kNVFP4>::Block;
  constexpr NibbleTable kTable = nibble_table(kDoubledE2m1);
  const Block* block = block_of<Block>(row, b / 2);
  const unsigned first = b % 2 * 2;
  std::uint32_t packed[4];
  load_words<4, sizeof(Block), offsetof(Block, nibbles), 16>(block->nibbles + 8 * first, packed);
  for (unsigned part = 0; part < 2; ++part) {
    look_up_nibbles<2>(kTable, packed + 2 * part, w.codes + 4 * part);
    const int bits = load_byte(&block->scales[first + part]);
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const int scale = exponent == 0 ? fraction : (8 + fraction) << (exponent - 1);
    w.scales[part] = bits == 0x7f ? 0 : scale;
  }
  w.d = 0x1p-10f;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
