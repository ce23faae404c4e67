// Keys and values written by a device: the bytes of the host, whatever the steps.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <limits>

#include "tests/gpu/support/heads_cache.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct WriteCase {
  HeadsCache::Shape shape;
  std::vector<std::uint32_t> steps;  // rows of each
  std::uint32_t not_finite = 0;      // a position whose row has an infinity, 0: none
};

std::string describe(const TestDevice& on, const WriteCase& c) {
  return fmt::format("{}: {} of {} as {}, {} heads, tail {}", on.name,
                     c.shape.part == KvPart::kKeys ? "keys" : "values", c.shape.dim,
                     traits(c.shape.format).name, c.shape.heads, c.shape.tail);
}

void expect_same_bytes(const TestDevice& on, const WriteCase& c) {
  HeadsCache host(c.shape);
  const DeviceCache device(on, host);
  Random random(c.shape.dim + c.shape.tail);
  std::uint32_t position = 0;
  for (const std::uint32_t rows : c.steps) {
    const std::size_t width = std::size_t{c.shape.heads} * c.shape.dim;
    std::vector<float> x = normal_floats(random, rows * width);
    if (position <= c.not_finite && c.not_finite < position + rows && c.not_finite > 0)
      x[(c.not_finite - position) * width + 7] = std::numeric_limits<float>::infinity();
    host.append(position, rows, x.data());

    const DeviceArray<float> on_device(on, x);
    const DeviceArray<std::uint32_t> start(on, std::vector<std::uint32_t>{position});
    on.kernels->store_kv({.rows = rows,
                          .heads = c.shape.heads,
                          .position = start.data(),
                          .x = on_device.data(),
                          .stride = width,
                          .to = device.memory()},
                         on.stream->native());
    on.kernels->encode_kv({.rows = rows,
                           .heads = c.shape.heads,
                           .position = start.data(),
                           .tail = c.shape.tail,
                           .memory = device.memory()},
                          on.stream->native());
    on.stream->synchronize();
    position += rows;
  }
  const auto same = [](std::span<const std::byte> expected, const std::vector<std::byte>& found) {
    return std::equal(expected.begin(), expected.end(), found.begin(), found.end());
  };
  EXPECT_TRUE(same(host.tiles(), device.tiles())) << describe(on, c);
  EXPECT_TRUE(same(host.recent(), device.recent())) << describe(on, c);
  EXPECT_TRUE(same(host.sink(), device.sink())) << describe(on, c);
}

// Alone, across the borders of tiles, and more than a tile at once.
std::vector<std::uint32_t> steps_to(std::uint32_t positions) {
  std::vector<std::uint32_t> steps = {1, 31, 2, 7, 70};
  for (std::uint32_t at = 111, rows = 1; at < positions; at += steps.back(), rows = rows % 8 + 1)
    steps.push_back(std::min(rows * 5, positions - at));
  return steps;
}

std::vector<WriteCase> every_format(std::uint32_t dim, std::uint32_t heads, std::uint32_t tail) {
  std::vector<WriteCase> cases;
  for (const KvFormatTraits& format : kKvFormats)
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      const std::uint32_t context = 140 + format.sink() + tail;
      cases.push_back({.shape = {.format = format.format,
                                 .part = part,
                                 .dim = dim,
                                 .heads = heads,
                                 .context = context,
                                 .tail = tail,
                                 .most_rows = 70},
                       .steps = steps_to(context)});
    }
  return cases;
}

void expect_same_bytes(const std::vector<WriteCase>& cases) {
  std::size_t device = 0;
  for (const WriteCase& c : cases)
    expect_same_bytes(test_devices()[device++ / 2 % test_devices().size()], c);
}

TEST(GpuKvWrite, EveryFormat) { expect_same_bytes(every_format(64, 2, 0)); }
TEST(GpuKvWrite, SlicesAndATail) { expect_same_bytes(every_format(160, 1, 40)); }
TEST(GpuKvWrite, LongSlices) { expect_same_bytes(every_format(256, 1, 0)); }

TEST(GpuKvWrite, FloatsOfAnyWidth) {
  for (const TestDevice& on : test_devices())
    for (const KvFormat format : {KvFormat::kF32, KvFormat::kF16, KvFormat::kBF16})
      for (const std::uint32_t dim : {16u, 80u})
        expect_same_bytes(on, {.shape = {.format = format, .dim = dim, .heads = 3, .context = 120},
                               .steps = steps_to(120)});
}

TEST(GpuKvWrite, WhatIsNotFiniteStaysSo) {
  for (const KvFormatTraits& format : kKvFormats)
    expect_same_bytes(test_devices()[0],
                      {.shape = {.format = format.format, .context = 300, .most_rows = 70},
                       .steps = steps_to(300),
                       .not_finite = 150});
}

}  // namespace
}  // namespace hearth::kernels
