// The weight formats against an independent reading of their bytes.
#include <gtest/gtest.h>

#include <array>
#include <cfloat>
#include <cmath>
#include <span>

#include "kernels/quant/codecs.h"
#include "tests/kernels/support/matrices.h"
#include "tests/kernels/support/plain_decoder.h"

namespace hearth::kernels {
namespace {

class Formats : public testing::TestWithParam<WeightFormat> {};

std::string name_of_format(const testing::TestParamInfo<WeightFormat>& info) {
  return std::string(traits(info.param).name);
}

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatTraits& row : kWeightFormats) formats.push_back(row.format);
  return formats;
}

// A value is d × scale × code - dmin × minimum. The products d × scale and dmin × minimum have at
// most 11 + 8 bits and are exact; the product with the code and the difference round once each. So
// the error is at most 2^-24 of the first term plus 2^-24 of the result (plus half the smallest
// denormal), each no more than 2^-23 of the sum of the terms.
TEST_P(Formats, DequantizeAgreesWithAPlainReading) {
  Random random(1);
  for (const Blocks blocks : {Blocks::kRandom, Blocks::kExtreme}) {
    const GuardedMatrix matrix(GetParam(), 3, 2048, blocks, random);
    const WeightMatrix& w = matrix.view();
    for (const CpuKernels& table : matmul_tables())
      for (std::uint32_t r = 0; r < w.rows; ++r) {
        std::vector<float> values(w.columns);
        table.dequantize[static_cast<std::size_t>(w.format)](w.row(r), w.columns, values.data());
        const auto expected = plain_decode(w.format, w.row(r), w.row_bytes());
        ASSERT_EQ(expected.size(), values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (expected[i].magnitude > FLT_MAX) continue;  // MXFP4 can hold more than f32
          ASSERT_NEAR(values[i], expected[i].value, 0x1p-23 * expected[i].magnitude + 0x1p-150)
              << table.name << " row " << r << " value " << i;
        }
      }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Formats, testing::ValuesIn(all_formats()), name_of_format);

TEST(HalfPrecision, EveryF16IsExact) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const std::byte bytes[] = {static_cast<std::byte>(bits & 255),
                               static_cast<std::byte>(bits >> 8)};
    const double expected = plain_decode(WeightFormat::kF16, bytes, 2)[0].value;
    const double value = f32_of_f16(static_cast<std::uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(value, expected) << bits;
      ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    }
  }
}

TEST(HalfPrecision, EveryMxfp4ExponentIsAPowerOfTwo) {
  for (int exponent = 0; exponent < 256; ++exponent) {
    Codec<WeightFormat::kMXFP4>::Block block{static_cast<std::uint8_t>(exponent), {}};
    Decoded<WeightFormat::kMXFP4> decoded;
    Codec<WeightFormat::kMXFP4>::decode(block, decoded);
    EXPECT_EQ(decoded.d, std::ldexp(1.0, exponent - 128));
  }
}

// Half of an OCP E4M3 without its sign, in units of 2^-10.
TEST(HalfPrecision, EveryNvfp4ScaleIsAnIntegerOfItsUnit) {
  for (int bits = 0; bits < 256; ++bits) {
    const double fraction = bits % 8 / 8.0, exponent = bits / 8 % 16;
    const double value = exponent == 0 ? std::ldexp(fraction, -6)
                                       : std::ldexp(1 + fraction, static_cast<int>(exponent) - 7);
    Codec<WeightFormat::kNVFP4>::Block block{{static_cast<std::uint8_t>(bits)}, {}};
    Decoded<WeightFormat::kNVFP4> decoded;
    Codec<WeightFormat::kNVFP4>::decode(block, decoded);
    EXPECT_EQ(decoded.d * static_cast<float>(decoded.scales[0]), bits == 0x7f ? 0 : value / 2);
  }
}

// Where each nibble of a block goes, drawn by hand: scales 1, 2, 448 and the smallest, 2^-9.
TEST(Formats, AnNvfp4BlockIsReadInItsOrder) {
  std::array<std::uint8_t, 36> bytes{0x38, 0x40, 0x7e, 0x01};
  bytes[4] = 0x72;       // part 0: value 0 is 1, value 8 is 6
  bytes[4 + 7] = 0xf0;   // value 15 is -6
  bytes[4 + 8] = 0x01;   // part 1: value 16 is 0.5 × 2
  bytes[4 + 23] = 0xc7;  // part 2: value 39 is 6 × 448, value 47 is -2 × 448
  bytes[4 + 31] = 0x90;  // part 3: value 63 is -0.5 × 2^-9
  std::array<float, 64> expected{};
  expected[0] = 1, expected[8] = 6, expected[15] = -6, expected[16] = 1;
  expected[39] = 2688, expected[47] = -896, expected[63] = -0x1p-10f;
  std::array<float, 64> values;
  matmul_tables()[0].dequantize[static_cast<std::size_t>(WeightFormat::kNVFP4)](
      std::as_bytes(std::span(bytes)).data(), 64, values.data());
  EXPECT_EQ(values, expected);
}

}  // namespace
}  // namespace hearth::kernels
