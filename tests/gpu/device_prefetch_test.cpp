// Whole models whose next layer's experts are gathered ahead: the bits of the CPU whatever is
// guessed, in every order of streams; and when nothing is guessed at all.
#include "runtime/gpu/device_prefetch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/device_prefill.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"

namespace hearth::runtime {
namespace {

using kernels::OneDevice;
using kernels::emulated::DeviceOptions;
using kernels::emulated::Streams;

// A link that carries so many experts in a layer's time, from the first step on.
profiler::PrefetchLink link_for(const Model& model, double experts) {
  profiler::PrefetchLink link = DeviceLanes::prefetch_link(model, 1e9);
  link.layer_seconds = experts * static_cast<double>(link.largest_expert.count) / link.rate;
  link.experts_per_token = 64;  // so that a share of it is all that a small model's token uses
  return link;
}

profiler::FetchLadder fetches(const Model& model, bool half) {
  profiler::FetchTable table(DeviceLanes::experts_of_step(model, kMostDeviceRows).used + 1, 0);
  for (std::uint32_t n = 0; n < table.size(); ++n) table[n] = half ? (n + 1) / 2 : 0;
  return {.rungs = {table}};
}

std::vector<std::uint32_t> share(const Model& model, double of_all) {
  std::vector<std::uint32_t> slots;
  for (const std::uint32_t experts : DeviceModel::classes(model).experts)
    slots.push_back(static_cast<std::uint32_t>(of_all * experts));
  return slots;
}

struct Setting {
  double slots = 0.5;        // of all experts
  bool fetches_half = true;  // of the misses; else none
  std::optional<double> carried = 2.0;
  std::uint32_t batch = kMostDeviceRows;
};

struct Prefetches {
  std::uint64_t issued = 0, used = 0, dropped = 0;
};

class OnDevice {
 public:
  OnDevice(Engine& engine, const Setting& setting, const DeviceOptions& options = {})
      : device_(options),
        model_(engine, device_.get(), device_.kernels(), of(engine, setting)),
        decoder_(model_,
                 {.context = kContext, .formats = engine.kv_formats(), .batch = setting.batch}) {}

  DeviceDecoder& decoder() { return decoder_; }
  Prefetches prefetches() {
    Prefetches all;
    for (const kernels::ExpertCounters& layer : model_.counters()) {
      all.issued += layer.prefetched;
      all.used += layer.prefetches_used;
      all.dropped += layer.prefetches_dropped;
    }
    return all;
  }

 private:
  static DeviceModel::Options of(const Engine& engine, const Setting& setting) {
    const Model& model = engine.model();
    DeviceModel::Options options{.slots_of_class = share(model, setting.slots),
                                 .fetches = fetches(model, setting.fetches_half),
                                 .batch = setting.batch};
    if (setting.carried) options.prefetch = link_for(model, *setting.carried);
    return options;
  }

  OneDevice device_;
  DeviceModel model_;
  DeviceDecoder decoder_;
};

TEST(DevicePrefetch, EveryBudgetGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const Setting& setting :
       {Setting{.carried = 1}, Setting{.carried = 1000},
        Setting{.fetches_half = false, .carried = 1000}, Setting{.slots = 0.75, .carried = 2}}) {
    OnDevice device(*engine, setting);
    const std::string where =
        fmt::format("{} of the slots, {} experts carried", setting.slots, *setting.carried);
    expect_same(expected, run_on_device(of, *engine, device.decoder()), where);
    const Prefetches found = device.prefetches();
    EXPECT_GT(found.issued, 0u) << where;
    EXPECT_GE(found.issued, found.used + found.dropped) << where;
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
    expect_same(expected, run_on_device(of, *engine, device.decoder()),
                fmt::format("seed {}", seed));
    EXPECT_GT(device.prefetches().issued, 0u);
  }
}

std::string name_of(const ::testing::TestParamInfo<const char*>& of) {
  std::string name = of.param;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Architectures, DevicePrefetchOf,
                         ::testing::Values("qwen3moe", "gemma4", "deepseek2-v3", "llama4",
                                           "gpt-oss"),
                         name_of);

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
    DevicePrefill prefill(device.decoder(), kChunk);
    Outcome found;
    std::uint32_t position = 0;
    for (const std::uint32_t count : of.pieces) {
      const std::span piece = std::span(tokens).subspan(position, count);
      const std::uint64_t before = device.prefetches().issued;
      if (count < kChunk) {
        decode(device.decoder(), piece, position, found);
      } else {
        prefill.run(
            piece, position, 0,
            [&](std::uint32_t, std::span<const float> logits) { found.add(logits); },
            [&](const profiler::Routing& routing) { found.add(routing); });
        EXPECT_EQ(device.prefetches().issued, before);
      }
      position += count;
    }
    expect_same(expected, found, fmt::format("seed {}", seed));
    EXPECT_GT(device.prefetches().issued, 0u);
  }
}

TEST(DevicePrefetch, StepsOfManyRowsGuessNothing) {
  const Case of{.model = "qwen3moe", .pieces = {kMostPrefetchRows + 1, kMostDeviceRows}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {});
  run_on_device(of, *engine, device.decoder());
  EXPECT_EQ(device.prefetches().issued, 0u);
}

TEST(DevicePrefetch, ALinkWithoutIdleTimeCarriesNothing) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  for (const std::optional<double> carried : {std::optional<double>(0.9), {}}) {
    OnDevice device(*engine, {.carried = carried});
    run_on_device(of, *engine, device.decoder());
    EXPECT_EQ(device.prefetches().issued, 0u);
    EXPECT_EQ(device.decoder().graphs(), 1u);  // which has no guess in it
  }
}

// A class with fewer slots than a token uses keeps what it has.
TEST(DevicePrefetch, BelowOneCycleNothingIsGuessed) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {.slots = 0.05});
  run_on_device(of, *engine, device.decoder());
  EXPECT_EQ(device.prefetches().issued, 0u);
}

// Decisions that are forced are none of the routers that guess.
TEST(DevicePrefetch, ForcedRoutingIsNotGuessed) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OnDevice device(*engine, {});
  const ForcedRouting forced = made_trace(*engine, 2);
  device.decoder().force_routing(&forced);
  run_on_device(of, *engine, device.decoder());
  EXPECT_EQ(device.prefetches().issued, 0u);
}

}  // namespace
}  // namespace hearth::runtime
