// The products of every format on the GPU: the bits of the scalar kernels.
#include <fmt/format.h>

#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {
namespace {

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatTraits& row : kWeightFormats) formats.push_back(row.format);
  return formats;
}

class GpuProduct : public testing::TestWithParam<WeightFormat> {
 protected:
  bool legal(std::uint32_t columns) const {
    return columns % traits(GetParam()).values_per_block == 0;
  }
};

std::vector<float> scalar_product(const WeightMatrix& w, const Activations& x) {
  std::vector<float> y(std::size_t{x.rows} * w.rows);
  matmul_tables()[0].matmul[static_cast<std::size_t>(w.format)](w, {0, w.rows}, x, y.data(),
                                                                w.rows);
  return y;
}

// Of the matrix, on all devices.
void expect_product(const WeightMatrix& matrix, const Activations& x, const std::string& what) {
  const auto expected = scalar_product(matrix, x);
  for (const TestDevice& on : test_devices()) {
    const auto weights = on_device(on, matrix);
    const DeviceActivations of_x(on, x);
    const DeviceArray<float> y(on, std::size_t{x.rows} * matrix.rows);
    on.kernels->product({.format = matrix.format,
                         .rows = matrix.rows,
                         .columns = matrix.columns,
                         .x = of_x.view(),
                         .dense = {weights.data()},
                         .y = y.data(),
                         .y_stride = matrix.rows},
                        on.stream->native());
    expect_same_bits(
        expected, y.values(),
        fmt::format("{}: {} columns, {} tokens, {}", on.name, matrix.columns, x.rows, what));
  }
}

// Columns that fill the eight threads of a row, end within them, and of one block; rows that fill
// a block of threads and not.
TEST_P(GpuProduct, GivesTheBitsOfScalar) {
  Random random(3);
  for (const std::uint32_t columns : {1u, 23u, 32u, 64u, 256u, 288u, 320u, 768u}) {
    if (!legal(columns)) continue;
    for (const std::uint32_t tokens : {1u, 3u, 8u})
      for (const Blocks blocks : {Blocks::kRandom, Blocks::kExtreme, Blocks::kSpecial}) {
        if (columns > 320 && tokens > 1 && blocks != Blocks::kRandom) continue;
        const std::uint32_t rows = tokens == 1 ? 37 : 3;
        const GuardedMatrix matrix(GetParam(), rows, columns, blocks, random);
        const TestActivations activations(tokens, columns, random);
        expect_product(matrix.view(), activations.view(),
                       fmt::format("blocks {}", static_cast<int>(blocks)));
      }
  }
}

// So many that blocks of threads are large.
TEST(GpuProductOfManyRows, GivesTheBitsOfScalar) {
  Random random(4);
  for (const WeightFormat format : {WeightFormat::kQ4_0, WeightFormat::kF16}) {
    const GuardedMatrix matrix(format, 8197, 32, Blocks::kRandom, random);
    const TestActivations activations(1, 32, random);
    expect_product(matrix.view(), activations.view(), "many rows");
  }
}

std::string name_of_format(const testing::TestParamInfo<WeightFormat>& info) {
  return std::string(traits(info.param).name);
}

INSTANTIATE_TEST_SUITE_P(All, GpuProduct, testing::ValuesIn(all_formats()), name_of_format);

}  // namespace
}  // namespace hearth::kernels
