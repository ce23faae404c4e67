// The products of every format on the GPU: the bits of the scalar kernels.
#include <fmt/format.h>

#include <deque>

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
    on.kernels->product(ProductTask{.format = matrix.format,
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

struct Shape {
  std::uint32_t columns, rows, tokens;
  Blocks blocks = Blocks::kRandom;
};

// Tokens that fill a tile of eight, end within it, and fill several of 64; blocks that fill the
// eight slices, end within them, and rows that fill a block of threads and not.
TEST_P(GpuProduct, GivesTheBitsOfScalarForManyRows) {
  Random random(5);
  for (const Shape shape : {Shape{1, 37, 9}, Shape{23, 3, 33}, Shape{32, 37, 1}, Shape{96, 33, 9},
                            Shape{256, 37, 9, Blocks::kExtreme}, Shape{256, 5, 9, Blocks::kSpecial},
                            Shape{256, 1, 130}, Shape{320, 37, 7}, Shape{768, 31, 33}}) {
    if (!legal(shape.columns)) continue;
    const GuardedMatrix matrix(GetParam(), shape.rows, shape.columns, shape.blocks, random);
    const TestActivations activations(shape.tokens, shape.columns, random);
    const auto expected = scalar_product(matrix.view(), activations.view());
    for (const TestDevice& on : test_devices()) {
      const auto weights = on_device(on, matrix.view());
      const DeviceActivations x(on, activations.view());
      const DeviceArray<float> y(on, std::size_t{shape.tokens} * shape.rows);
      on.kernels->matrix_product(ProductTask{.format = GetParam(),
                                             .rows = shape.rows,
                                             .columns = shape.columns,
                                             .x = x.view(),
                                             .dense = {weights.data()},
                                             .y = y.data(),
                                             .y_stride = shape.rows},
                                 on.stream->native());
      expect_same_bits(
          expected, y.values(),
          fmt::format("{}: {} columns, {} rows, {} tokens, blocks {}", on.name, shape.columns,
                      shape.rows, shape.tokens, static_cast<int>(shape.blocks)));
    }
  }
}

// One matrix for each head, between rows of others: every row of x is of one of them.
TEST_P(GpuProduct, MultipliesPartsWithRowsOfTheirOwn) {
  constexpr std::uint32_t kColumns = 256, kParts = 3, kRows = 5, kStride = 7, kTokens = 2;
  Random random(13);
  const GuardedMatrix matrix(GetParam(), kParts * kStride, kColumns, Blocks::kRandom, random);
  const TestActivations activations(kTokens * kParts, kColumns, random);
  const std::vector<float> all = scalar_product(matrix.view(), activations.view());
  std::vector<float> expected;  // [tokens][parts][rows]
  for (std::uint32_t i = 0; i < kTokens * kParts; ++i) {
    const float* const part = &all[(std::size_t{i} * kParts + i % kParts) * kStride];
    expected.insert(expected.end(), part, part + kRows);
  }
  for (const TestDevice& on : test_devices()) {
    const auto weights = on_device(on, matrix.view());
    const DeviceActivations x(on, activations.view());
    for (const auto product : {on.kernels->product, on.kernels->matrix_product}) {
      const DeviceArray<float> y(on, expected.size());
      product(ProductTask{.format = GetParam(),
                          .rows = kRows,
                          .columns = kColumns,
                          .x = x.view(),
                          .dense = {weights.data()},
                          .parts = kParts,
                          .part_bytes = kStride * matrix.view().row_bytes(),
                          .y = y.data(),
                          .y_stride = kParts * kRows,
                          .y_part_stride = kRows},
              on.stream->native());
      expect_same_bits(expected, y.values(), on.name);
    }
  }
}

// One of a list, and what it gives.
struct Listed {
  GuardedMatrix matrix;
  TestActivations x;
  std::vector<float> expected;

  Listed(WeightFormat format, std::uint32_t rows, std::uint32_t tokens, Random& random)
      : matrix(format, rows, 512, Blocks::kRandom, random),
        x(tokens, 512, random),
        expected(scalar_product(matrix.view(), x.view())) {}
};

// Of formats, inputs, rows and numbers of tokens of their own, and one that has nothing to do.
TEST(GpuProducts, OfOneLaunchHaveTheBitsOfScalar) {
  const std::vector<WeightFormat> formats = all_formats();
  const std::uint32_t rows[] = {1, 300, 37, 64};
  for (const std::uint32_t tokens : {1u, 3u, 8u})
    for (std::size_t first = 0; first < formats.size(); first += 3) {
      Random random(17 + first);
      std::deque<Listed> all;
      for (std::size_t i = 0; i < kMostProducts; ++i)
        all.emplace_back(formats[(first + i) % formats.size()], rows[(first + i) % 4],
                         i % 2 == 0 ? tokens : 1, random);
      for (const TestDevice& on : test_devices())
        for (const auto product : {on.kernels->product, on.kernels->matrix_product}) {
          std::vector<DeviceArray<std::byte>> weights;
          std::vector<DeviceActivations> inputs;
          std::vector<DeviceArray<float>> outputs;
          Products products;
          for (std::size_t i = 0; i < all.size(); ++i) {
            const WeightMatrix matrix = all[i].matrix.view();
            weights.push_back(on_device(on, matrix));
            inputs.emplace_back(on, all[i].x.view());
            outputs.emplace_back(on, all[i].expected.size());
            products.tasks[products.count++] = {.format = matrix.format,
                                                .rows = i == 1 && first == 0 ? 0 : matrix.rows,
                                                .columns = matrix.columns,
                                                .x = inputs[i].view(),
                                                .dense = {weights[i].data()},
                                                .y = outputs[i].data(),
                                                .y_stride = matrix.rows};
          }
          product(products, on.stream->native());
          for (std::size_t i = 0; i < all.size(); ++i)
            if (products.tasks[i].rows > 0)
              expect_same_bits(all[i].expected, outputs[i].values(),
                               fmt::format("{}: {} of {}", on.name, i, first));
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
