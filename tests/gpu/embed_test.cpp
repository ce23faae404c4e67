// Rows of an embedding table of every format: the bits of the scalar kernels.
#include <fmt/format.h>

#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {
namespace {

class GpuEmbed : public testing::TestWithParam<WeightFormat> {};

std::vector<float> scalar_rows(const WeightMatrix& table, const std::vector<TokenId>& ids,
                               float scale) {
  std::vector<float> rows(ids.size() * table.columns);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::uint32_t>(ids[i]) >= table.rows) continue;
    float* const row = &rows[i * table.columns];
    scalar_table().dequantize[static_cast<std::size_t>(table.format)](
        table.row(static_cast<std::uint32_t>(ids[i])), table.columns, row);
    if (scale != 1) scalar_table().scale(scale, table.columns, row);
  }
  return rows;
}

void expect_same(const WeightMatrix& table, const std::vector<TokenId>& ids, float scale,
                 std::uint32_t unknown) {
  const std::vector<float> expected = scalar_rows(table, ids, scale);
  for (const TestDevice& on : test_devices()) {
    const auto weights = on_device(on, table);
    const DeviceArray<TokenId> tokens(on, ids);
    const DeviceArray<float> out(on, expected.size());
    const DeviceArray<std::uint32_t> counter(on, std::vector<std::uint32_t>{7});
    on.kernels->embed({.format = table.format,
                       .vocabulary = table.rows,
                       .columns = table.columns,
                       .table = weights.data(),
                       .rows = static_cast<std::uint32_t>(ids.size()),
                       .ids = tokens.data(),
                       .scale = scale,
                       .out = out.data(),
                       .out_stride = table.columns,
                       .unknown = counter.data()},
                      on.stream->native());
    const std::string where = fmt::format("{}: {} columns", on.name, table.columns);
    expect_same_bits(expected, out.values(), where);
    EXPECT_EQ(counter.values()[0], 7 + unknown) << where;
  }
}

TEST_P(GpuEmbed, GivesTheBitsOfScalar) {
  Random random(6);
  for (const std::uint32_t columns : {1u, 65u, 32u, 64u, 256u, 2560u}) {
    if (columns % traits(GetParam()).values_per_block != 0) continue;
    for (const Blocks blocks : {Blocks::kRandom, Blocks::kExtreme, Blocks::kSpecial}) {
      const GuardedMatrix table(GetParam(), 5, columns, blocks, random);
      expect_same(table.view(), {4}, 1, 0);
      expect_same(table.view(), {0, 3, 3}, 39.19f, 0);
    }
  }
}

TEST_P(GpuEmbed, IdsOutsideOfTheTableAreCountedAndGiveZeros) {
  Random random(7);
  const GuardedMatrix table(GetParam(), 3, 256, Blocks::kRandom, random);
  expect_same(table.view(), {2, 3, -1, 1 << 30}, 2, 3);
  expect_same(table.view(), {}, 1, 0);
}

std::string name_of_format(const testing::TestParamInfo<WeightFormat>& info) {
  return std::string(traits(info.param).name);
}

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatTraits& row : kWeightFormats) formats.push_back(row.format);
  return formats;
}

INSTANTIATE_TEST_SUITE_P(All, GpuEmbed, testing::ValuesIn(all_formats()), name_of_format);

}  // namespace
}  // namespace hearth::kernels
