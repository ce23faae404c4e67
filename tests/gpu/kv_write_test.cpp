// Keys and values written by a device: the bytes of the host, whatever the steps.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "tests/gpu/support/heads_cache.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct WriteCase {
  HeadsCache::Shape keys;
  std::optional<HeadsCache::Shape> values;  // of as many heads
  std::vector<std::uint32_t> steps;         // rows of each
  std::uint32_t not_finite = 0;             // a position whose rows have infinities, 0: none
};

std::string describe(const TestDevice& on, const WriteCase& c, KvPart part) {
  const HeadsCache::Shape& shape = part == KvPart::kKeys ? c.keys : *c.values;
  return fmt::format("{}: {} of {} as {}, {} heads, tail {}", on.name,
                     part == KvPart::kKeys ? "keys" : "values", shape.dim,
                     traits(shape.format).name, shape.heads, shape.tail);
}

// Keys or values of a layer as the host writes them, and on a device.
class WrittenPart {
 public:
  WrittenPart(const TestDevice& on, const HeadsCache::Shape& shape)
      : on_(&on), host_(shape), device_(on, host_), random_(shape.dim + shape.tail) {}

  // What a step stores, by the host at once.
  HeadGroup next(std::uint32_t position, std::uint32_t rows, std::uint32_t not_finite) {
    const HeadsCache::Shape& shape = host_.shape();
    const std::size_t width = std::size_t{shape.heads} * shape.dim;
    std::vector<float> x = normal_floats(random_, rows * width);
    if (position <= not_finite && not_finite < position + rows && not_finite > 0)
      x[(not_finite - position) * width + 7] = std::numeric_limits<float>::infinity();
    host_.append(position, rows, x.data());
    x_.emplace(*on_, x);
    return {.heads = shape.heads,
            .dim = shape.dim,
            .from = x_->data(),
            .from_stride = width,
            .from_head_stride = shape.dim,
            .to = device_.memory()};
  }
  KvMemory memory() const { return device_.memory(); }

  void expect_same_bytes(const std::string& where) const {
    const auto same = [](std::span<const std::byte> expected, const std::vector<std::byte>& found) {
      return std::equal(expected.begin(), expected.end(), found.begin(), found.end());
    };
    EXPECT_TRUE(same(host_.tiles(), device_.tiles())) << where;
    EXPECT_TRUE(same(host_.recent(), device_.recent())) << where;
    EXPECT_TRUE(same(host_.sink(), device_.sink())) << where;
  }

 private:
  const TestDevice* on_;
  HeadsCache host_;
  DeviceCache device_;
  Random random_;
  std::optional<DeviceArray<float>> x_;  // of the last step
};

void expect_same_bytes(const TestDevice& on, const WriteCase& c) {
  WrittenPart keys(on, c.keys);
  std::optional<WrittenPart> values;
  if (c.values) values.emplace(on, *c.values);
  std::uint32_t position = 0;
  for (const std::uint32_t rows : c.steps) {
    const DeviceArray<std::uint32_t> start(on, std::vector<std::uint32_t>{position});
    TurnTask turn{.rows = rows, .position = start.data()};
    turn.groups[0] = keys.next(position, rows, c.not_finite);
    if (values) turn.groups[1] = values->next(position, rows, c.not_finite);
    on.kernels->turn(turn, on.stream->native());
    on.kernels->encode_kv({.rows = rows,
                           .heads = c.keys.heads,
                           .position = start.data(),
                           .tail = c.keys.tail,
                           .parts = {keys.memory(), values ? values->memory() : KvMemory{}}},
                          on.stream->native());
    on.stream->synchronize();
    position += rows;
  }
  keys.expect_same_bytes(describe(on, c, KvPart::kKeys));
  if (values) values->expect_same_bytes(describe(on, c, KvPart::kValues));
}

// Alone, across the borders of tiles, and more than a tile at once.
std::vector<std::uint32_t> steps_to(std::uint32_t positions) {
  std::vector<std::uint32_t> steps = {1, 31, 2, 7, 70};
  for (std::uint32_t at = 111, rows = 1; at < positions; at += steps.back(), rows = rows % 8 + 1)
    steps.push_back(std::min(rows * 5, positions - at));
  return steps;
}

struct Sizes {
  std::uint32_t key_dim = 64, value_dim = 64;
  std::uint32_t heads = 1;
  std::uint32_t tail = 0;
};

WriteCase write_case(KvFormat keys, KvFormat values, const Sizes& s) {
  const std::uint32_t sink = std::max(traits(keys).sink(), traits(values).sink());
  const HeadsCache::Shape of_keys{.format = keys,
                                  .part = KvPart::kKeys,
                                  .dim = s.key_dim,
                                  .heads = s.heads,
                                  .context = 140 + sink + s.tail,
                                  .tail = s.tail,
                                  .most_rows = 70};
  HeadsCache::Shape of_values = of_keys;
  of_values.format = values;
  of_values.part = KvPart::kValues;
  of_values.dim = s.value_dim;
  return {.keys = of_keys, .values = of_values, .steps = steps_to(of_keys.context)};
}

// Each format as keys, and as values beside the keys of one that is `apart` from it in the list.
std::vector<WriteCase> every_format(const Sizes& sizes, std::size_t apart) {
  std::vector<WriteCase> cases;
  for (std::size_t i = 0; i < kKvFormatCount; ++i)
    cases.push_back(
        write_case(kKvFormats[i].format, kKvFormats[(i + apart) % kKvFormatCount].format, sizes));
  return cases;
}

void expect_same_bytes(const std::vector<WriteCase>& cases) {
  std::size_t device = 0;
  for (const WriteCase& c : cases)
    expect_same_bytes(test_devices()[device++ % test_devices().size()], c);
}

TEST(GpuKvWrite, EveryFormat) { expect_same_bytes(every_format({.heads = 2}, 0)); }
TEST(GpuKvWrite, SlicesAndATail) {
  expect_same_bytes(every_format({.key_dim = 160, .value_dim = 96, .tail = 40}, 3));
}
TEST(GpuKvWrite, LongSlices) {
  expect_same_bytes(every_format({.key_dim = 128, .value_dim = 256}, kKvFormatCount - 1));
}

TEST(GpuKvWrite, EveryPairOfFamilies) {
  constexpr KvFormat kOfFamilies[] = {KvFormat::kF16,    KvFormat::kQ8_0,   KvFormat::kQ4_1,
                                      KvFormat::kIQ4_NL, KvFormat::kTurbo3, KvFormat::kKvarn4};
  for (const TestDevice& on : test_devices())
    for (const KvFormat keys : kOfFamilies)
      for (const KvFormat values : kOfFamilies)
        expect_same_bytes(on, write_case(keys, values, {.key_dim = 64, .value_dim = 32}));
}

// Rows that are keys and values at once.
TEST(GpuKvWrite, KeysAlone) {
  for (const TestDevice& on : test_devices())
    for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0}) {
      WriteCase c = write_case(format, format, {.key_dim = 576});
      c.values.reset();
      expect_same_bytes(on, c);
    }
}

TEST(GpuKvWrite, FloatsOfAnyWidth) {
  constexpr KvFormat kFloats[] = {KvFormat::kF32, KvFormat::kF16, KvFormat::kBF16};
  for (const TestDevice& on : test_devices())
    for (const KvFormat keys : kFloats)
      for (const KvFormat values : kFloats)
        expect_same_bytes(on,
                          write_case(keys, values, {.key_dim = 16, .value_dim = 80, .heads = 3}));
}

TEST(GpuKvWrite, WhatIsNotFiniteStaysSo) {
  for (const KvFormatTraits& format : kKvFormats) {
    WriteCase c = write_case(format.format, format.format, {});
    c.not_finite = 150;
    expect_same_bytes(test_devices()[0], c);
  }
}

}  // namespace
}  // namespace hearth::kernels
