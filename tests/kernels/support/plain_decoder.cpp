#include "tests/kernels/support/plain_decoder.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/quant/grids.h"

namespace hearth::kernels {
namespace {

class Block {
 public:
  Block(const std::byte* data, std::vector<PlainValue>& out) : data_(data), out_(out) {}

  int byte(std::size_t offset) const { return std::to_integer<int>(data_[offset]); }
  int bits(std::size_t offset, int low, int count) const {
    return (byte(offset) >> low) % (1 << count);
  }
  int nibble(std::size_t offset, int which) const { return bits(offset, 4 * which, 4); }
  int bit(std::size_t offset, int index) const {
    return bits(offset + static_cast<std::size_t>(index / 8), index % 8, 1);
  }

  double f16(std::size_t offset) const {
    const int all = byte(offset) + 256 * byte(offset + 1);
    const int exponent = all / 1024 % 32, fraction = all % 1024;
    double magnitude = std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 0) magnitude = std::ldexp(fraction, -24);
    if (exponent == 31)
      magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
    return all >= 0x8000 ? -magnitude : magnitude;
  }

  void push(double product, double minimum = 0) {
    out_.push_back({product + minimum, std::abs(product) + std::abs(minimum)});
  }

 private:
  const std::byte* data_;
  std::vector<PlainValue>& out_;
};

void q8_0(Block& block) {
  for (std::size_t i = 0; i < 32; ++i) {
    const int code = block.byte(2 + i);
    block.push(block.f16(0) * (code < 128 ? code : code - 256));
  }
}

void q4_0(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (std::size_t i = 0; i < 16; ++i) block.push(block.f16(0) * (block.nibble(2 + i, half) - 8));
}

void q4_1(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (std::size_t i = 0; i < 16; ++i)
      block.push(block.f16(0) * block.nibble(4 + i, half), block.f16(2));
}

void q5_0(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 16; ++i) {
      const int code =
          block.nibble(6 + static_cast<std::size_t>(i), half) + 16 * block.bit(2, 16 * half + i);
      block.push(block.f16(0) * (code - 16));
    }
}

void q5_1(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 16; ++i) {
      const int code =
          block.nibble(8 + static_cast<std::size_t>(i), half) + 16 * block.bit(4, 16 * half + i);
      block.push(block.f16(0) * code, block.f16(2));
    }
}

void q2_k(Block& block) {
  std::size_t part = 0;
  for (std::size_t half = 0; half < 2; ++half)
    for (int shift = 0; shift < 8; shift += 2)
      for (std::size_t run = 0; run < 2; ++run, ++part)
        for (std::size_t i = 0; i < 16; ++i)
          block.push(block.f16(80) * block.nibble(part, 0) *
                         block.bits(16 + 32 * half + 16 * run + i, shift, 2),
                     -block.f16(82) * block.nibble(part, 1));
}

void q3_k(Block& block) {
  std::size_t part = 0;
  int plane = 0;
  for (std::size_t half = 0; half < 2; ++half)
    for (int shift = 0; shift < 8; shift += 2, ++plane)
      for (std::size_t run = 0; run < 2; ++run, ++part) {
        const int scale = block.nibble(96 + part % 8, static_cast<int>(part / 8)) +
                          16 * block.bits(104 + part % 4, 2 * static_cast<int>(part / 4), 2);
        for (std::size_t i = 16 * run; i < 16 * run + 16; ++i) {
          const int code = block.bits(32 + 32 * half + i, shift, 2) + 4 * block.bits(i, plane, 1);
          block.push(block.f16(108) * (scale - 32) * (code - 4));
        }
      }
}

struct ScaleAndMinimum {
  int scale, minimum;
};

ScaleAndMinimum six_bits(const Block& block, std::size_t part) {
  if (part < 4) return {block.bits(4 + part, 0, 6), block.bits(8 + part, 0, 6)};
  return {block.nibble(8 + part, 0) + 16 * block.bits(part, 6, 2),
          block.nibble(8 + part, 1) + 16 * block.bits(4 + part, 6, 2)};
}

void q4_k(Block& block) {
  for (std::size_t part = 0; part < 8; ++part) {
    const auto [scale, minimum] = six_bits(block, part);
    for (std::size_t i = 0; i < 32; ++i)
      block.push(block.f16(0) * scale * block.nibble(16 + part / 2 * 32 + i, part % 2),
                 -block.f16(2) * minimum);
  }
}

void q5_k(Block& block) {
  for (std::size_t part = 0; part < 8; ++part) {
    const auto [scale, minimum] = six_bits(block, part);
    for (std::size_t i = 0; i < 32; ++i) {
      const int code = block.nibble(48 + part / 2 * 32 + i, part % 2) +
                       16 * block.bits(16 + i, static_cast<int>(part), 1);
      block.push(block.f16(0) * scale * code, -block.f16(2) * minimum);
    }
  }
}

void q6_k(Block& block) {
  for (std::size_t half = 0; half < 2; ++half)
    for (std::size_t quarter = 0; quarter < 4; ++quarter)
      for (std::size_t i = 0; i < 32; ++i) {
        const int code =
            block.nibble(64 * half + 32 * (quarter % 2) + i, static_cast<int>(quarter / 2)) +
            16 * block.bits(128 + 32 * half + i, 2 * static_cast<int>(quarter), 2);
        const int scale = block.byte(192 + 8 * half + 2 * quarter + i / 16);
        block.push(block.f16(208) * (scale < 128 ? scale : scale - 256) * (code - 32));
      }
}

int iq4_value(int nibble) {
  constexpr int kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};
  return kTable[nibble];
}

void iq4_nl(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (std::size_t i = 0; i < 16; ++i)
      block.push(block.f16(0) * iq4_value(block.nibble(2 + i, half)));
}

void iq4_xs(Block& block) {
  for (int part = 0; part < 8; ++part) {
    const auto p = static_cast<std::size_t>(part);
    const int scale =
        block.nibble(4 + p / 2, part % 2) + 16 * block.bits(2 + p / 4, part % 4 * 2, 2);
    for (int half = 0; half < 2; ++half)
      for (std::size_t i = 0; i < 16; ++i)
        block.push(block.f16(0) * (scale - 32) * iq4_value(block.nibble(8 + 16 * p + i, half)));
  }
}

// Bits `at` to `at + count` of the block, counted from the lowest bit of its first byte.
int bit_run(const Block& block, std::size_t at, int count) {
  int value = 0;
  for (int i = 0; i < count; ++i)
    value |= block.bits(at / 8 + (at % 8 + static_cast<std::size_t>(i)) / 8,
                        static_cast<int>((at + static_cast<std::size_t>(i)) % 8), 1)
             << i;
  return value;
}

int entry_value(std::uint64_t entry, std::size_t i) {
  const int byte = static_cast<int>(entry >> (8 * i) & 255);
  return byte < 128 ? byte : byte - 256;
}

// Sign of value i of eight: the bit itself, or for the eighth of an even set the parity of all.
int sign_of(int bits, std::size_t i, bool even) {
  if (even) bits = bits % 128 + 128 * (std::popcount(static_cast<unsigned>(bits % 128)) % 2);
  return (bits >> i) % 2 == 0 ? 1 : -1;
}

void iq2_xxs(Block& block) {
  for (std::size_t part = 0; part < 8; ++part) {
    const std::size_t at = 2 + 8 * part;
    const int scale = bit_run(block, 8 * at + 60, 4);
    for (std::size_t g = 0; g < 4; ++g)
      for (std::size_t i = 0; i < 8; ++i)
        block.push(block.f16(0) * (0.5 + scale) / 4 *
                   entry_value(kIq2XxsGrid.at[block.byte(at + g)], i) *
                   sign_of(bit_run(block, 8 * at + 32 + 7 * g, 7), i, true));
  }
}

void iq2_xs(Block& block) {
  for (std::size_t g = 0; g < 32; ++g)
    for (std::size_t i = 0; i < 8; ++i)
      block.push(block.f16(0) * (0.5 + block.nibble(66 + g / 4, g / 2 % 2)) / 4 *
                 entry_value(kIq2XsGrid.at[bit_run(block, 16 + 16 * g, 9)], i) *
                 sign_of(bit_run(block, 16 + 16 * g + 9, 7), i, true));
}

void iq2_s(Block& block) {
  for (std::size_t g = 0; g < 32; ++g)
    for (std::size_t i = 0; i < 8; ++i) {
      const int index = block.byte(2 + g) + 256 * bit_run(block, 8 * 66 + 2 * g, 2);
      block.push(block.f16(0) * (0.5 + block.nibble(74 + g / 4, g / 2 % 2)) / 4 *
                 entry_value(kIq2SGrid.at[index], i) * sign_of(block.byte(34 + g), i, false));
    }
}

void iq3_xxs(Block& block) {
  for (std::size_t j = 0; j < 64; ++j) {
    const std::size_t word = 8 * (66 + j / 8 * 4);
    const int signs = bit_run(block, word + 7 * (j / 2 % 4), 7);
    for (std::size_t i = 0; i < 4; ++i)
      block.push(block.f16(0) * (0.5 + bit_run(block, word + 28, 4)) / 2 *
                 entry_value(kIq3XxsGrid.at[block.byte(2 + j)], i) *
                 sign_of(signs, 4 * (j % 2) + i, true));
  }
}

void iq3_s(Block& block) {
  for (std::size_t j = 0; j < 64; ++j)
    for (std::size_t i = 0; i < 4; ++i) {
      const int index = block.byte(2 + j) + 256 * bit_run(block, 8 * 66 + j, 1);
      block.push(block.f16(0) * (1 + 2 * block.nibble(106 + j / 16, j / 8 % 2)) *
                 entry_value(kIq3SGrid.at[index], i) *
                 sign_of(block.byte(74 + j / 2), 4 * (j % 2) + i, false));
    }
}

void iq1_s(Block& block) {
  for (std::size_t g = 0; g < 32; ++g) {
    const std::size_t word = 8 * (34 + g / 4 * 2);
    const int index = block.byte(2 + g) + 256 * bit_run(block, word + 3 * (g % 4), 3);
    const double shift = bit_run(block, word + 15, 1) != 0 ? -0.125 : 0.125;
    for (std::size_t i = 0; i < 8; ++i)
      block.push(block.f16(0) * (2 * bit_run(block, word + 12, 3) + 1) *
                 (entry_value(kIq1Grid.at[index], i) / 8.0 + shift));
  }
}

void iq1_m(Block& block) {
  std::byte d_bytes[2] = {};
  for (std::size_t i = 0; i < 4; ++i)
    d_bytes[i / 2] |= static_cast<std::byte>(block.nibble(49 + 2 * i, 1) << (i % 2 * 4));
  std::vector<PlainValue> none;
  const double d = Block(d_bytes, none).f16(0);
  for (std::size_t g = 0; g < 32; ++g) {
    const int nibble = block.nibble(32 + g / 2, g % 2);
    const int index = block.byte(g) + 256 * (nibble % 8);
    const int scale = bit_run(block, 8 * 48 + g / 8 * 16 + g / 2 % 4 * 3, 3);
    for (std::size_t i = 0; i < 8; ++i)
      block.push(d * (2 * scale + 1) *
                 (entry_value(kIq1Grid.at[index], i) / 8.0 + (nibble >= 8 ? -0.125 : 0.125)));
  }
}

// Sign, two bits of exponent with bias 1, one bit of fraction.
double e2m1(int nibble) {
  const int exponent = nibble / 2 % 4, fraction = nibble % 2;
  const double magnitude =
      exponent == 0 ? fraction / 2.0 : std::ldexp(1 + fraction / 2.0, exponent - 1);
  return nibble >= 8 ? -magnitude : magnitude;
}

void mxfp4(Block& block) {
  for (int half = 0; half < 2; ++half)
    for (std::size_t i = 0; i < 16; ++i)
      block.push(std::ldexp(e2m1(block.nibble(1 + i, half)), block.byte(0) - 127));
}

void nvfp4(Block& block) {
  for (std::size_t part = 0; part < 4; ++part) {
    // UE4M3: four bits of exponent with bias 7, three of fraction; the sign bit is not looked at.
    const int exponent = block.bits(part, 3, 4), fraction = block.bits(part, 0, 3);
    double scale = exponent == 0 ? std::ldexp(fraction / 8.0, -6)
                                 : std::ldexp(1 + fraction / 8.0, exponent - 7);
    if (block.byte(part) == 0x7f) scale = 0;
    for (int half = 0; half < 2; ++half)
      for (std::size_t i = 0; i < 8; ++i)
        block.push(scale * e2m1(block.nibble(4 + 8 * part + i, half)));
  }
}

void f32(Block& block) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < 4; ++i) bits |= static_cast<std::uint32_t>(block.byte(i)) << (8 * i);
  float value;
  std::memcpy(&value, &bits, 4);
  block.push(value);
}

void f16(Block& block) { block.push(block.f16(0)); }

void bf16(Block& block) {
  const std::uint32_t bits = static_cast<std::uint32_t>(block.byte(0) + 256 * block.byte(1)) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  block.push(value);
}

struct Row {
  WeightFormat format;
  void (*decode)(Block&);
  std::vector<std::size_t> f16_offsets;
};

const Row& row_of(WeightFormat format) {
  using enum WeightFormat;
  static const std::vector<Row> rows = {
      {kF32, f32, {}},          {kF16, f16, {0}},       {kBF16, bf16, {}},
      {kQ8_0, q8_0, {0}},       {kQ4_0, q4_0, {0}},     {kQ4_1, q4_1, {0, 2}},
      {kQ5_0, q5_0, {0}},       {kQ5_1, q5_1, {0, 2}},  {kQ2_K, q2_k, {80, 82}},
      {kQ3_K, q3_k, {108}},     {kQ4_K, q4_k, {0, 2}},  {kQ5_K, q5_k, {0, 2}},
      {kQ6_K, q6_k, {208}},     {kIQ4_NL, iq4_nl, {0}}, {kIQ4_XS, iq4_xs, {0}},
      {kMXFP4, mxfp4, {}},      {kIQ1_S, iq1_s, {0}},   {kIQ1_M, iq1_m, {}},
      {kIQ2_XXS, iq2_xxs, {0}}, {kIQ2_XS, iq2_xs, {0}}, {kIQ2_S, iq2_s, {0}},
      {kIQ3_XXS, iq3_xxs, {0}}, {kIQ3_S, iq3_s, {0}},   {kNVFP4, nvfp4, {}},
  };
  for (const Row& row : rows)
    if (row.format == format) return row;
  std::abort();
}

}  // namespace

std::vector<PlainValue> plain_decode(WeightFormat format, const std::byte* data,
                                     std::size_t bytes) {
  std::vector<PlainValue> out;
  for (std::size_t at = 0; at < bytes; at += traits(format).bytes_per_block) {
    Block block(data + at, out);
    row_of(format).decode(block);
  }
  return out;
}

void write_scales(WeightFormat format, std::byte* block, FunctionRef<std::uint16_t()> scale) {
  for (const std::size_t offset : row_of(format).f16_offsets) {
    const std::uint16_t value = scale();
    std::memcpy(block + offset, &value, sizeof(value));
  }
  if (format != WeightFormat::kIQ1_M) return;
  const std::uint16_t value = scale();  // in the high nibbles of four words
  for (std::size_t i = 0; i < 4; ++i) {
    std::byte& high = block[49 + 2 * i];
    high = (high & std::byte{15}) | static_cast<std::byte>((value >> (4 * i) & 15) << 4);
  }
}

}  // namespace hearth::kernels
