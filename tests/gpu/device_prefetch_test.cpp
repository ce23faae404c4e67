// Whole models whose next layer's experts are gathered ahead: the bits of the CPU whatever is
// guessed, in every order of streams; and when nothing is guessed at all.
#include "runtime/gpu/device_prefetch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/gpu/support/device_run.h"

namespace hearth::runtime {
namespace {

using kernels::emulated::DeviceOptions;
using kernels::emulated::Streams;

// A link that carries so many experts in a layer's time, from the first step on.
profiler::PrefetchLink link_for(const Model& model, double experts) {
  profiler::PrefetchLink link = DeviceLanes::prefetch_link(model, 1e9);
  link.layer_seconds = experts * static_cast<double>(link.largest_expert.count) / link.rate;
  link.experts_per_token = 64;  // so that a share of it is all that a small model's token uses
  return link;
}

struct Setting {
  double slots = 0.5;  // of all experts
  Misses misses = Misses::kToBoth;
  std::optional<double> carried = 2.0;
  std::uint32_t batch = kMostDeviceRows;
};

class OnDevice : public DeviceRun {
 public:
  OnDevice(Engine& engine, const Setting& setting, const DeviceOptions& of_device = {})
      : DeviceRun(engine, options(engine.model(), setting), of_device) {}

  std::uint64_t issued() { return model.work().experts.prefetched; }

 private:
  static DeviceModel::Options options(const Model& model, const Setting& setting) {
    DeviceModel::Options options{.slots_of_class = share_of_slots(model, setting.slots),
                                 .fetches = fetches(model, setting.misses),
                                 .batch = setting.batch};
    if (setting.carried) options.prefetch = link_for(model, *setting.carried);
    return options;
  }
};

TEST(DevicePrefetch, EveryBudgetGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const Setting& setting : {Setting{.carried = 1}, Setting{.carried = 1000},
                                 Setting{.misses = Misses::kToTheCpu, .carried = 1000},
                                 Setting{.slots = 0.75, .carried = 2}}) {
    OnDevice device(*engine, setting);
    const std::string where =
        fmt::format("{} of the slots, {} experts carried", setting.slots, *setting.carried);
    expect_same(expected, run_on_device(of, *engine, device.decoder), where);
    const kernels::ExpertCounters found = device.model.work().experts;
    EXPECT_GT(found.prefetched, 0u) << where;
    EXPECT_GE(found.prefetched, found.prefetches_used + found.prefetches_dropped) << where;
  }
}

class DevicePrefetchOf : public ::testing::TestWithParam<const char*> {};

// Layers without experts between others, routers with norms of their own, groups, biases.
TEST_P(DevicePrefetchOf, GivesTheBitsOfTheCpuInEveryOrder) {
  const Case of{.model = GetParam(), .pieces = {1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const std::uint64_t seed : {1u, 2u}) {
    OnDevice device(*engine, {},
                    {.lanes = seed == 1 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled});
    expect_same(expected, run_on_device(of, *engine, device.decoder), fmt::format("seed {}", seed));
    EXPECT_GT(device.issued(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, DevicePrefetchOf,
                         ::testing::Values("qwen3moe", "gemma4", "deepseek2-v3", "llama4",
                                           "gpt-oss"),
                         name_of_model);

// Chunks of a prompt guess nothing, and find the experts that steps before them gathered ahead.
TEST(DevicePrefetch, PromptsBetweenStepsGiveTheBitsOfTheCpu) {
  constexpr std::uint32_t kChunk = kMostDeviceRows + 1;
  const Case of{.model = "qwen3moe", .pieces = {1, 1, kChunk, 1, 1, kChunk}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    OnDevice device(*engine, {.carried = 1000, .batch = kChunk},
                    {.lanes = seed == 1 ? 64u : 32u, .seed = seed, .streams = Streams::kScheduled});
    DevicePrefill prefill(device.decoder, kChunk);
    Outcome found;
    std::uint32_t position = 0;
    for (const std::uint32_t count : of.pieces) {
      const std::span piece = std::span(tokens).subspan(position, count);
      const std::uint64_t before = device.issued();
      if (count < kChunk) {
        decode(device.decoder, piece, position, found);
      } else {
        evaluate(prefill, piece, position, found);
        EXPECT_EQ(device.issued(), before);
      }
      position += count;
    }
    expect_same(expected, found, fmt::format("seed {}", seed));
    EXPECT_GT(device.issued(), 0u);
  }
}

TEST(DevicePrefetch, StepsOfManyRowsGuessNothing) {
  const Case of{.model = "qwen3moe", .pieces = {kMostPrefetchRows + 1, kMostDeviceRows}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {});
  run_on_device(of, *engine, device.decoder);
  EXPECT_EQ(device.issued(), 0u);
}

TEST(DevicePrefetch, ALinkWithoutIdleTimeCarriesNothing) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  for (const std::optional<double> carried : {std::optional<double>(0.9), {}}) {
    OnDevice device(*engine, {.carried = carried});
    run_on_device(of, *engine, device.decoder);
    EXPECT_EQ(device.issued(), 0u);
    EXPECT_EQ(device.decoder.graphs(), 1u);  // which has no guess in it
  }
}

// A class with fewer slots than a token uses keeps what it has.
TEST(DevicePrefetch, BelowOneCycleNothingIsGuessed) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {.slots = 0.05});
  run_on_device(of, *engine, device.decoder);
  EXPECT_EQ(device.issued(), 0u);
}

// Decisions that are forced are none of the routers that guess.
TEST(DevicePrefetch, ForcedRoutingIsNotGuessed) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {});
  const ForcedRouting forced = made_trace(*engine, 2);
  device.decoder.force_routing(&forced);
  run_on_device(of, *engine, device.decoder);
  EXPECT_EQ(device.issued(), 0u);
}

}  // namespace
}  // namespace hearth::runtime
