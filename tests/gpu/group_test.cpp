// The pairs of a chunk, grouped by expert: places, jobs and addresses as plain loops give them, for
// lists of experts in any order, experts that no row chose, and ids that no router may choose.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "kernels/gpu/group.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {
namespace {

struct Row {
  std::string name;
  std::uint32_t rows = 1;
  std::uint32_t used = 2;
  std::uint32_t experts = 4;
  std::uint32_t chosen = 4;  // ids below it, and where it is more than experts, out of range
};
std::string name_of_row(const testing::TestParamInfo<Row>& info) { return info.param.name; }

constexpr std::uint32_t kNoPlace = 0xffffffff;

// What a layer's router chose, and where its pairs shall be.
struct Chunk {
  explicit Chunk(const Row& shape) : row(shape), random(shape.rows + shape.experts) {
    for (std::uint32_t pair = 0; pair < pairs(); ++pair) {
      ids.push_back(static_cast<std::uint16_t>(random.below(row.chosen)));
      weights.push_back(static_cast<float>(random.uniform()));
    }
    order.resize(row.experts);
    std::iota(order.begin(), order.end(), 0u);
    for (std::uint32_t i = row.experts; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    place.assign(pairs(), kNoPlace);
    for (std::uint32_t e = 0; e < row.experts; ++e) {
      begin.push_back(static_cast<std::uint32_t>(pair_at.size()));
      for (std::uint32_t pair = 0; pair < pairs(); ++pair) {
        if (ids[pair] != e) continue;
        place[pair] = static_cast<std::uint32_t>(pair_at.size());
        pair_at.push_back(pair);
      }
    }
    begin.push_back(static_cast<std::uint32_t>(pair_at.size()));
  }
  std::uint32_t pairs() const { return row.rows * row.used; }

  Row row;
  Random random;
  std::vector<std::uint16_t> ids;
  std::vector<float> weights;
  std::vector<std::uint32_t> order;    // of experts in the list
  std::vector<std::uint32_t> place;    // of each pair
  std::vector<std::uint32_t> pair_at;  // each place
  std::vector<std::uint32_t> begin;    // of each expert, and the end
};

class GpuGroup : public testing::TestWithParam<Row> {};

TEST_P(GpuGroup, IsWhatPlainLoopsGive) {
  const Chunk chunk(GetParam());
  const SlotLayout layout = slot_layout(300, 700, 100);
  constexpr std::uint64_t kStride = 40;
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<std::byte> weights(on, layout.size * chunk.row.experts);
    std::vector<GroupedExpert> list;
    for (const std::uint32_t expert : chunk.order)
      list.push_back({.at = weights.data() + layout.size * expert, .expert = expert});
    const DeviceArray<GroupedExpert> experts(on, list);
    const DeviceArray<std::uint16_t> ids(on, chunk.ids);
    const DeviceArray<float> router_weights(on, chunk.weights);
    const DeviceArray<float> outputs(on, chunk.pairs() * kStride), nothing(on, kStride);
    const DeviceArray<ExpertJob> jobs(on, chunk.row.experts);
    const DeviceArray<std::uint32_t> x_rows(on, chunk.pairs());
    const DeviceArray<float> x_weights(on, chunk.pairs());
    const DeviceArray<const float*> results(on, chunk.pairs());
    const DeviceArray<std::uint32_t> faults(on, std::vector{7u});
    on.kernels->group({.rows = chunk.row.rows,
                       .experts_used = chunk.row.used,
                       .ids = ids.data(),
                       .weights = router_weights.data(),
                       .experts = experts.data(),
                       .expert_count = chunk.row.experts,
                       .layout = layout,
                       .jobs = jobs.data(),
                       .x_rows = x_rows.data(),
                       .x_weights = x_weights.data(),
                       .results = results.data(),
                       .faults = faults.data(),
                       .outputs = {.rows = outputs.data(), .stride = kStride},
                       .nothing = nothing.data()},
                      on.stream->native());

    const auto found_jobs = jobs.values();
    for (std::uint32_t i = 0; i < chunk.row.experts; ++i) {
      const std::uint32_t expert = chunk.order[i];
      EXPECT_EQ(found_jobs[i].expert, expert) << on.name;
      EXPECT_EQ(found_jobs[i].begin, chunk.begin[expert]) << on.name;
      EXPECT_EQ(found_jobs[i].rows, chunk.begin[expert + 1] - chunk.begin[expert]) << on.name;
      for (std::uint32_t part = 0; part < kExpertParts; ++part)
        EXPECT_EQ(found_jobs[i].matrices[part], list[i].at + layout.offsets[part]) << on.name;
    }
    const auto found_rows = x_rows.values();
    const auto found_weights = x_weights.values();
    for (std::uint32_t place = 0; place < chunk.pair_at.size(); ++place) {
      EXPECT_EQ(found_rows[place], chunk.pair_at[place] / chunk.row.used) << on.name;
      EXPECT_EQ(found_weights[place], chunk.weights[chunk.pair_at[place]]) << on.name;
    }
    const auto found_results = results.values();
    std::uint32_t unknown = 0;
    for (std::uint32_t pair = 0; pair < chunk.pairs(); ++pair) {
      const bool known = chunk.place[pair] != kNoPlace;
      unknown += known ? 0 : 1;
      EXPECT_EQ(found_results[pair],
                known ? outputs.data() + chunk.place[pair] * kStride : nothing.data())
          << on.name << ": pair " << pair;
    }
    EXPECT_EQ(faults.values().front(), 7 + unknown) << on.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuGroup,
    testing::Values(
        Row{.name = "OneRow"},
        Row{.name = "OneExpert", .rows = 70, .used = 1, .experts = 1, .chosen = 1},
        Row{.name = "ExpertsThatNobodyChose", .rows = 3, .experts = 40, .chosen = 5},
        Row{.name = "PairsThatFillTheThreads", .rows = 64, .used = 4, .experts = 7, .chosen = 7},
        Row{.name = "OnePairMoreThanThreads", .rows = 257, .used = 1, .experts = 9, .chosen = 9},
        Row{.name = "ThousandsOfPairs", .rows = 411, .used = 8, .experts = 16, .chosen = 16},
        Row{.name = "IdsOutOfRange", .rows = 50, .used = 3, .experts = 6, .chosen = 8}),
    name_of_row);

TEST(GpuGroup, NoRowsLaunchNothing) {
  for (const TestDevice& on : test_devices())
    on.kernels->group({.experts_used = 4}, on.stream->native());
}

}  // namespace
}  // namespace hearth::kernels
