// The products of every format: the scalar ones against double precision, all others against the
// scalar ones bit for bit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tests/kernels/support/matrices.h"
#include "tests/kernels/support/plain_decoder.h"

namespace hearth::kernels {
namespace {

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatTraits& row : kWeightFormats) formats.push_back(row.format);
  return formats;
}

std::string name_of_format(const testing::TestParamInfo<WeightFormat>& info) {
  return std::string(traits(info.param).name);
}

constexpr float kUntouched = 1234.5f;

// Runs a product into a buffer with gaps and checks that only the outputs were written.
std::vector<float> run(const CpuKernels& table, const WeightMatrix& w, RowRange rows,
                       const Activations& x) {
  const std::size_t count = rows.end - rows.begin;
  const std::size_t stride = count + 3;
  std::vector<float> y(x.rows * stride, kUntouched);
  table.matmul[static_cast<std::size_t>(w.format)](w, rows, x, y.data(), stride);
  std::vector<float> out;
  for (std::size_t t = 0; t < x.rows; ++t) {
    out.insert(out.end(), &y[t * stride], &y[t * stride] + count);
    for (std::size_t gap = count; gap < stride; ++gap)
      EXPECT_EQ(y[t * stride + gap], kUntouched) << table.name << " wrote past row " << t;
  }
  return out;
}

class Matmul : public testing::TestWithParam<WeightFormat> {
 protected:
  bool legal(std::uint32_t columns) const {
    return columns % traits(GetParam()).values_per_block == 0;
  }
};

// Against double precision over the same quantized activations. With n the longest chain of one
// accumulator, every term passes at most n fused multiply-adds, three additions of the fold (four
// with 16 accumulators), the rounding of its scale product and, in NVFP4, that of its integer:
// |error| <= (n + 6) u / (1 - (n + 6) u) of the sum of magnitudes, u = 2^-24. Chains are 2 × blocks
// / 8 long at most for block formats (product and minimum), columns / 16 for float ones.
TEST_P(Matmul, ScalarIsWithinTheRoundingBound) {
  Random random(2);
  for (const std::uint32_t columns : {32u, 256u, 2080u, 2048u}) {
    if (!legal(columns)) continue;
    const GuardedMatrix matrix(GetParam(), 5, columns, Blocks::kRandom, random);
    const TestActivations activations(3, columns, random);
    const WeightMatrix& w = matrix.view();
    const Activations x = activations.view();
    const auto y = run(matmul_tables()[0], w, {0, w.rows}, x);
    const bool blocks = takes_quantized_activations(w.format);
    const double chain = blocks ? 2 * std::ceil(columns / 256.0) : std::ceil(columns / 16.0);
    for (std::uint32_t t = 0; t < x.rows; ++t)
      for (std::uint32_t r = 0; r < w.rows; ++r) {
        double expected = 0, magnitude = 0;
        const auto values = plain_decode(w.format, w.row(r), w.row_bytes());
        for (std::uint32_t i = 0; i < columns; ++i) {
          const std::size_t at = std::size_t{t} * x.stride + i;
          const double a = blocks ? double{x.scales[at / 32]} * x.codes[at] : x.values[at];
          expected += values[i].value * a;
          magnitude += values[i].magnitude * std::abs(a);
        }
        const double bound = 1.001 * (chain + 6) * 0x1p-24 * magnitude;
        ASSERT_NEAR(y[t * w.rows + r], expected, bound)
            << columns << " columns, row " << r << ", token " << t;
      }
  }
}

// A NaN has no specified payload: NaN equals NaN, all else is compared by its bits.
void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b,
                      const std::string& where) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i]))
        << where << ", output " << i << ": " << a[i] << " against " << b[i];
  }
}

// The table of shapes: columns that fill tiles, end within one, and of one block; every number of
// tokens of the kernels for few, and of those for many one chunk and a rest; rows that fill panels
// of 16, groups of four, and neither, from odd beginnings. No bound: the bits are the same.
TEST_P(Matmul, EveryInstructionSetGivesTheBitsOfScalar) {
  Random random(3);
  const auto& tables = matmul_tables();
  for (const std::uint32_t columns :
       {1u, 23u, 32u, 64u, 96u, 256u, 288u, 320u, 480u, 768u, 2048u}) {
    if (!legal(columns)) continue;
    for (const std::uint32_t tokens : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 33u, 70u})
      for (const Blocks blocks : {Blocks::kRandom, Blocks::kExtreme, Blocks::kSpecial}) {
        if (columns > 320 && tokens > 4 && blocks != Blocks::kRandom) continue;
        const GuardedMatrix matrix(GetParam(), 37, columns, blocks, random);
        const TestActivations activations(tokens, columns, random);
        for (const RowRange rows : {RowRange{0, 37}, RowRange{0, 16}, RowRange{5, 37},
                                    RowRange{36, 37}, RowRange{7, 10}, RowRange{4, 4}}) {
          const auto expected = run(tables[0], matrix.view(), rows, activations.view());
          for (std::size_t set = 1; set < tables.size(); ++set)
            expect_same_bits(
                expected, run(tables[set], matrix.view(), rows, activations.view()),
                fmt::format("{}: {} columns, {} tokens, rows {} to {}, blocks {}", tables[set].name,
                            columns, tokens, rows.begin, rows.end, static_cast<int>(blocks)));
        }
      }
  }
}

// The result of a token does not depend on what it is batched with.
TEST_P(Matmul, ATokenAloneGivesTheBitsOfItsRowInABatch) {
  Random random(4);
  const std::uint32_t columns = 768;
  const GuardedMatrix matrix(GetParam(), 19, columns, Blocks::kRandom, random);
  const TestActivations activations(40, columns, random);
  for (const CpuKernels& table : matmul_tables()) {
    const auto batch = run(table, matrix.view(), {0, 19}, activations.view());
    for (const std::uint32_t token : {0u, 17u, 39u}) {
      Activations one = activations.view();
      one.rows = 1;
      one.values += std::size_t{token} * one.stride;
      one.codes += std::size_t{token} * one.stride;
      one.scales += std::size_t{token} * (one.stride / 32);
      one.sums += std::size_t{token} * (one.stride / 16);
      const std::vector<float> row(batch.begin() + token * 19, batch.begin() + (token + 1) * 19);
      expect_same_bits(row, run(table, matrix.view(), {0, 19}, one), std::string(table.name));
    }
  }
}

// The largest integers of every format reach the conversion to f32 exactly: all codes and scales
// at the end of their range against activations at theirs.
TEST_P(Matmul, TheLargestCodesDoNotOverflow) {
  if (!takes_quantized_activations(GetParam())) return;
  constexpr std::uint32_t kColumns = 256;
  Random random(5);
  std::vector<std::byte> memory(ActivationBuffer::bytes_needed(1, kColumns).count + 64);
  std::byte* aligned =
      memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
  ActivationBuffer buffer({aligned, memory.size() - 64}, 1, kColumns);
  buffer.set_shape(1, kColumns);
  for (const float sign : {1.0f, -1.0f}) {
    std::fill_n(buffer.values(0), kColumns, 127 * sign);
    matmul_tables()[0].quantize(buffer.values(0), kColumns, buffer.codes(0), buffer.scales(0),
                                buffer.sums(0));
    for (int fill : {0x00, 0x7f, 0x80, 0xff, 0xf0, 0x0f}) {
      const std::uint32_t bytes = traits(GetParam()).bytes_per_block;
      std::vector<std::byte> data(kColumns / traits(GetParam()).values_per_block * bytes,
                                  static_cast<std::byte>(fill));
      constexpr std::uint16_t kOne = 0x3c00;
      for (std::size_t at = 0; at < data.size(); at += bytes)
        write_scales(GetParam(), &data[at], [] { return kOne; });
      const WeightMatrix w{GetParam(), 1, kColumns, data.data()};
      double expected = 0;
      for (const PlainValue& v : plain_decode(w.format, data.data(), data.size()))
        expected += v.value * 127 * sign;
      for (const CpuKernels& table : matmul_tables())
        EXPECT_EQ(run(table, w, {0, 1}, buffer.view())[0], static_cast<float>(expected))
            << table.name << " filled with " << fill;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Matmul, testing::ValuesIn(all_formats()), name_of_format);

}  // namespace
}  // namespace hearth::kernels
