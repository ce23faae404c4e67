// Rotary embedding, factors and rotations on a device: the bits of the scalar kernels.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "kernels/kv/rotation.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct TurnCase {
  std::uint32_t rows = 2, heads = 3, dim = 64;
  std::uint32_t half = 0, first = 0;
  bool neighbours = false;
  bool factors = false;
  KvRotation rotation;
  bool back = false;
};

void expect_same(const TestDevice& on, const TurnCase& c) {
  constexpr std::uint32_t kTable = 160;  // of a row: larger than any half
  const CpuKernels& scalar = scalar_table();
  Random random(c.dim + c.half);
  const std::uint32_t head_stride = c.dim + 5;
  const std::size_t stride = std::size_t{c.heads} * head_stride + 3;
  std::vector<float> x = normal_floats(random, c.rows * stride);
  const std::vector<float> cosine = normal_floats(random, c.rows * kTable);
  const std::vector<float> sine = normal_floats(random, c.rows * kTable);
  const std::vector<float> factors = normal_floats(random, c.rows);

  const DeviceArray<float> found(on, x), of_cosine(on, cosine), of_sine(on, sine);
  const DeviceArray<float> of_rows(on, factors);
  const RotationLayout rotation = rotation_layout(c.rotation);
  on.kernels->turn({.rows = c.rows,
                    .heads = c.heads,
                    .dim = c.dim,
                    .x = found.data(),
                    .stride = stride,
                    .head_stride = head_stride,
                    .cosine = of_cosine.data(),
                    .sine = of_sine.data(),
                    .table_stride = kTable,
                    .half = c.half,
                    .first = c.first,
                    .neighbours = c.neighbours,
                    .factors = c.factors ? of_rows.data() : nullptr,
                    .rotation = c.back ? reversed(rotation) : rotation},
                   on.stream->native());

  for (std::uint32_t row = 0; row < c.rows; ++row)
    for (std::uint32_t head = 0; head < c.heads; ++head) {
      float* const values = &x[row * stride + std::size_t{head} * head_stride];
      const auto turn = c.neighbours ? scalar.rope_pairs : scalar.rope_halves;
      turn(values + c.first, &cosine[row * kTable], &sine[row * kTable], c.half);
      if (c.factors) scalar.scale(factors[row], c.dim, values);
      (c.back ? rotate_back : rotate)(scalar, c.rotation, c.dim, values);
    }
  expect_same_bits(
      x, found.values(),
      fmt::format("{}: dim {}, half {}, rotation {}", on.name, c.dim, c.half, c.rotation.size));
}

TEST(GpuTurn, RotaryOfHalvesAndNeighbours) {
  for (const TestDevice& on : test_devices())
    for (const bool neighbours : {false, true}) {
      for (const std::uint32_t half : {1u, 16u, 17u, 32u})
        expect_same(on, {.half = half, .neighbours = neighbours});
      expect_same(on, {.dim = 192, .half = 32, .first = 128, .neighbours = neighbours});
      expect_same(on, {.dim = 80, .half = 40, .neighbours = neighbours, .factors = true});
    }
}

TEST(GpuTurn, EveryRotation) {
  for (const TestDevice& on : test_devices())
    for (const KvFormat format : {KvFormat::kQ4_0, KvFormat::kKvarn4, KvFormat::kTurbo3})
      for (const KvPart part : {KvPart::kKeys, KvPart::kValues})
        for (const std::uint32_t dim : {32u, 64u, 96u, 256u, 512u, 576u})
          for (const bool back : {false, true})
            expect_same(on, {.dim = dim,
                             .half = back ? 0 : dim / 4,
                             .rotation = kv_rotation(format, part, dim),
                             .back = back});
}

}  // namespace
}  // namespace hearth::kernels
