// Norms of heads, rotary embedding, factors and rotations on a device: the bits of the scalar
// kernels.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>

#include "kernels/kv/rotation.h"
#include "tests/gpu/support/heads_cache.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kTable = 160;  // of a row: larger than any half
constexpr float kEpsilon = 1e-6f;

struct TurnCase {
  std::uint32_t rows = 2, heads = 3, dim = 64;
  std::uint32_t normed = 0;
  bool weighed = false;
  std::uint32_t half = 0, first = 0;
  bool neighbours = false;
  bool normed_when_turned = false;
  bool factors = false;
  KvRotation rotation = {};
  bool back = false;

  std::uint32_t head_stride() const { return dim + 5; }
  std::size_t stride() const { return std::size_t{heads} * head_stride() + 3; }
};

// The heads of a case, and what all heads of a step share.
struct Heads {
  explicit Heads(const TurnCase& of)
      : c(of),
        random(of.dim + of.half),
        x(normal_floats(random, of.rows * of.stride())),
        cosine(normal_floats(random, of.rows * kTable)),
        sine(normal_floats(random, of.rows * kTable)),
        factors(normal_floats(random, of.rows)),
        weight(normal_floats(random, of.normed)) {}

  // In place, as runtime/blocks does it.
  void turn() {
    for (std::uint32_t row = 0; row < c.rows; ++row)
      for (std::uint32_t head = 0; head < c.heads; ++head)
        turn(row, &x[row * c.stride() + std::size_t{head} * c.head_stride()]);
  }
  void turn(std::uint32_t row, float* values) const {
    const CpuKernels& scalar = scalar_table();
    if (c.normed > 0)
      scalar.rms_norm(values, c.weighed ? weight.data() : nullptr, c.normed, kEpsilon, values);
    const auto turn_pairs = c.neighbours ? scalar.rope_pairs : scalar.rope_halves;
    turn_pairs(values + c.first, &cosine[row * kTable], &sine[row * kTable], c.half);
    if (c.normed_when_turned) scalar.rms_norm(values, nullptr, c.dim, kEpsilon, values);
    if (c.factors) scalar.scale(factors[row], c.dim, values);
    (c.back ? rotate_back : rotate)(scalar, c.rotation, c.dim, values);
  }

  TurnCase c;
  Random random;
  std::vector<float> x, cosine, sine, factors, weight;
};

class HeadsOnDevice {
 public:
  HeadsOnDevice(const TestDevice& on, const Heads& heads)
      : c_(heads.c),
        x_(on, heads.x),
        cosine_(on, heads.cosine),
        sine_(on, heads.sine),
        factors_(on, heads.factors),
        weight_(on, heads.weight) {}

  HeadGroup group() const {
    const RotationLayout rotation = rotation_layout(c_.rotation);
    return {.heads = c_.heads,
            .dim = c_.dim,
            .x = x_.data(),
            .stride = c_.stride(),
            .head_stride = c_.head_stride(),
            .normed = c_.normed,
            .weight = c_.weighed ? weight_.data() : nullptr,
            .half = c_.half,
            .first = c_.first,
            .neighbours = c_.neighbours,
            .normed_when_turned = c_.normed_when_turned,
            .factors = c_.factors ? factors_.data() : nullptr,
            .rotation = c_.back ? reversed(rotation) : rotation};
  }
  TurnTask task() const {
    return {.rows = c_.rows,
            .cosine = cosine_.data(),
            .sine = sine_.data(),
            .table_stride = kTable,
            .epsilon = kEpsilon};
  }
  std::vector<float> values() const { return x_.values(); }
  const float* data() const { return x_.data(); }

 private:
  TurnCase c_;
  DeviceArray<float> x_, cosine_, sine_, factors_, weight_;
};

void expect_same(const TestDevice& on, const TurnCase& c) {
  Heads heads(c);
  const HeadsOnDevice found(on, heads);
  TurnTask task = found.task();
  task.groups[0] = found.group();
  on.kernels->turn(task, on.stream->native());
  heads.turn();
  expect_same_bits(heads.x, found.values(),
                   fmt::format("{}: dim {}, {} normed, half {}, rotation {}", on.name, c.dim,
                               c.normed, c.half, c.rotation.size));
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

TEST(GpuTurn, NormsOfHeads) {
  for (const TestDevice& on : test_devices()) {
    for (const std::uint32_t dim : {1u, 16u, 33u, 128u, 576u})
      for (const bool weighed : {false, true})
        expect_same(on, {.dim = dim, .normed = dim, .weighed = weighed});
    expect_same(on, {.dim = 80, .normed = 80, .weighed = true, .half = 16, .factors = true});
    expect_same(on, {.dim = 128, .half = 64, .neighbours = true, .normed_when_turned = true});
    // A latent with its rotated channels.
    expect_same(on, {.dim = 96,
                     .normed = 64,
                     .weighed = true,
                     .half = 16,
                     .first = 64,
                     .neighbours = true,
                     .rotation = kv_rotation(KvFormat::kQ8_0, KvPart::kKeys, 96)});
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

// Queries, keys and values of a layer; the values are what the keys were, elsewhere.
TEST(GpuTurn, GroupsOfOneLaunch) {
  const TurnCase c{.heads = 5, .dim = 48, .normed = 48, .weighed = true, .half = 24};
  TurnCase of_values = c;
  of_values.half = 0;
  of_values.weighed = false;
  Heads queries(c), keys(c), values(of_values);
  values.x = keys.x;
  for (const TestDevice& on : test_devices()) {
    const HeadsOnDevice of_queries(on, Heads(c)), given(on, keys);
    const DeviceArray<float> key(on, std::vector<float>(keys.x.size(), 1.0f));
    const HeadsOnDevice value(on, Heads(of_values));
    TurnTask task = of_queries.task();
    task.groups[0] = of_queries.group();
    task.groups[1] = of_queries.group();
    task.groups[1].x = key.data();
    task.groups[2] = value.group();
    for (HeadGroup* const group : {&task.groups[1], &task.groups[2]}) {
      group->from = given.data();
      group->from_stride = c.stride();
      group->from_head_stride = c.head_stride();
    }
    on.kernels->turn(task, on.stream->native());

    Heads turned_keys = keys, turned_values = values, turned_queries = queries;
    turned_queries.turn();
    turned_keys.turn();
    turned_values.turn();
    expect_same_bits(turned_queries.x, of_queries.values(), on.name + ", queries");
    const auto expect_heads = [&](std::vector<float> expected, const std::vector<float>& found,
                                  const char* what) {
      // Between the heads of a destination nothing is written.
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::size_t in_row = i % c.stride();
        if (in_row >= std::size_t{c.heads} * c.head_stride() || in_row % c.head_stride() >= c.dim)
          expected[i] = found[i];
      }
      expect_same_bits(expected, found, on.name + what);
    };
    expect_heads(turned_keys.x, key.values(), ", keys");
    expect_heads(turned_values.x, value.values(), ", values");
  }
}

// What is stored is what comes out of the rotation, whether it is wanted elsewhere or not.
TEST(GpuTurn, StoresWhatItGives) {
  constexpr std::uint32_t kPosition = 30;
  for (const TestDevice& on : test_devices())
    for (const bool elsewhere : {false, true}) {
      Heads heads({.rows = 5,
                   .normed = 64,
                   .weighed = true,
                   .half = 32,
                   .rotation = kv_rotation(KvFormat::kQ8_0, KvPart::kKeys, 64)});
      const TurnCase& c = heads.c;
      HeadsCache cache({.format = KvFormat::kQ8_0, .dim = c.dim, .heads = c.heads, .context = 64});
      const DeviceCache on_device(on, cache);
      const HeadsOnDevice found(on, heads), given(on, heads);
      const DeviceArray<std::uint32_t> position(on, std::vector<std::uint32_t>{kPosition});
      TurnTask task = found.task();
      task.position = position.data();
      task.groups[1] = found.group();
      task.groups[1].from = given.data();
      task.groups[1].from_stride = c.stride();
      task.groups[1].from_head_stride = c.head_stride();
      task.groups[1].to = on_device.memory();
      if (!elsewhere) task.groups[1].x = nullptr;
      on.kernels->turn(task, on.stream->native());

      const std::vector<float> before = heads.x;
      heads.turn();
      expect_same_bits(elsewhere ? heads.x : before, found.values(), on.name);
      std::vector<float> rows;
      for (std::uint32_t row = 0; row < c.rows; ++row)
        for (std::uint32_t head = 0; head < c.heads; ++head) {
          const auto begin = heads.x.begin() + row * c.stride() + head * c.head_stride();
          rows.insert(rows.end(), begin, begin + c.dim);
        }
      cache.append(kPosition, c.rows, rows.data());
      const std::vector<std::byte> stored = on_device.recent();
      EXPECT_TRUE(std::ranges::equal(cache.recent(), stored)) << on.name;
    }
}

}  // namespace
}  // namespace hearth::kernels
