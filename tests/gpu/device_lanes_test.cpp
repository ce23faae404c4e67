// Whole models with fewer slots than experts: hits, the link and the CPU give together the bits of
// the CPU alone, whatever the split, the order and the tier an expert comes from; memory to the
// byte of the plan; and how a lane fails.
#include "runtime/gpu/device_lanes.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "tests/gpu/support/device_run.h"
#include "tests/gpu/support/expect_error.h"

namespace hearth::runtime {
namespace {

using kernels::DeviceKind;
using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Streams;
using ::testing::HasSubstr;
using testing::ReadWeather;

// Whether a class has slots for all experts that a token uses: else nothing is fetched into it.
bool holds_a_token(const Model& model, std::span<const std::uint32_t> slots) {
  const SizeClasses classes = DeviceModel::classes(model);
  for (std::uint8_t c = 0; c < slots.size(); ++c)
    if (slots[c] >= std::ranges::count(classes.class_of_layer, c) * model.config.experts_used)
      return true;
  return false;
}

struct Setting {
  double slots = 0;  // of all experts
  Misses misses = Misses::kToTheCpu;
};

struct Lanes : DeviceRun {
  Lanes(Engine& engine, const Setting& setting, const DeviceOptions& of_device = {},
        DeviceKind kind = DeviceKind::kAny)
      : DeviceRun(engine,
                  {.slots_of_class = share_of_slots(engine.model(), setting.slots),
                   .fetches = fetches(engine.model(), setting.misses)},
                  of_device, kind) {}
};

void expect_bits_of_the_cpu(const Case& of, std::span<const Setting> settings) {
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  unsigned lanes = 32;
  for (const Setting& setting : settings) {
    Lanes on(*engine, setting, {.lanes = lanes});
    const Outcome found = run_on_device(of, *engine, on.decoder);
    const kernels::ExpertCounters experts = on.model.work().experts;
    const std::string where = fmt::format("{} of the slots, misses {}, {} lanes", setting.slots,
                                          static_cast<int>(setting.misses), lanes);
    expect_same(expected, found, where);
    EXPECT_EQ(experts.hits > 0, setting.slots > 0) << where;
    const bool fetched =
        setting.misses != Misses::kToTheCpu &&
        holds_a_token(engine->model(), share_of_slots(engine->model(), setting.slots));
    EXPECT_EQ(experts.fetched > 0, fetched) << where;
    if (setting.misses != Misses::kOverTheLink) {
      EXPECT_EQ(experts.on_host > 0, setting.slots < 1) << where;
    }
    lanes = 96 - lanes;
  }
}

TEST(DeviceLanes, EveryBudgetAndSplitGivesTheBitsOfTheCpu) {
  const Setting settings[] = {{.slots = 0},
                              {.slots = 0.25},
                              {.slots = 0.25, .misses = Misses::kOverTheLink},
                              {.slots = 0.5, .misses = Misses::kOverTheLink},
                              {.slots = 0.5, .misses = Misses::kToBoth},
                              {.slots = 1}};
  expect_bits_of_the_cpu({.model = "qwen3moe", .pieces = {2, 1, 1}}, settings);
}

class DeviceLanesOf : public ::testing::TestWithParam<const char*> {};

TEST_P(DeviceLanesOf, GiveTheBitsOfTheCpu) {
  const Setting settings[] = {{.slots = 0.5, .misses = Misses::kToBoth}, {.slots = 0.5}};
  expect_bits_of_the_cpu({.model = GetParam(), .pieces = {2, 1}}, settings);
}

INSTANTIATE_TEST_SUITE_P(Architectures, DeviceLanesOf,
                         ::testing::Values("qwen3moe-f16", "qwen3moe-kquants", "gpt-oss",
                                           "deepseek2-v3", "llama4", "gemma4", "qwen35moe"),
                         name_of_model);

// A token at a time, with slots for all that one uses: what misses is fetched, all of it.
TEST(DeviceLanes, TheLinkAloneServesAllMisses) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Lanes on(*engine, {.slots = 0.5, .misses = Misses::kOverTheLink});
  expect_same(expected, run_on_device(of, *engine, on.decoder), "the link alone");
  EXPECT_GT(on.model.work().experts.fetched, 0u);
  EXPECT_EQ(on.model.work().experts.on_host, 0u);
}

// Fewer slots than a token uses: what is in them stays there.
TEST(DeviceLanes, BelowOneCycleNothingIsFetched) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  const ModelConfig& config = engine->config();
  const double cycle = config.layers * config.experts_used;
  Lanes on(*engine, {.slots = (cycle - 1) / engine->model().experts.total(),
                     .misses = Misses::kOverTheLink});
  expect_same(expected, run_on_device(of, *engine, on.decoder), "below one cycle");
  EXPECT_EQ(on.model.work().experts.fetched, 0u);
  EXPECT_GT(on.model.work().experts.on_host, 0u);
}

// Of RAM there is no more than a token needs of each size, or a little more: the rest is on disk,
// and comes late and in any order.
TEST(DeviceLanes, ExpertsComeFromDisk) {
  const Case of{.model = "qwen3moe", .pieces = {3, 1, 1}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  for (const std::uint32_t times : {1u, 3u}) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 5;
    const auto engine = open(of, times * roomy->config().experts_used, weather);
    Lanes on(*engine, {.slots = 0.5, .misses = Misses::kToBoth}, {.lanes = times == 1 ? 32u : 64u});
    expect_same(expected, run_on_device(of, *engine, on.decoder),
                fmt::format("{} times the least RAM", times));
    EXPECT_GT(on.model.work().experts.not_in_ram, 0u);
    EXPECT_EQ(on.model.work().experts.fetched > 0, times > 1);
  }
}

TEST(DeviceLanes, EveryOrderOfStreamsGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const std::uint64_t seed : {1u, 2u}) {
    Lanes on(*engine, {.slots = 0.5, .misses = Misses::kToBoth},
             {.lanes = seed == 1 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled});
    expect_same(expected, run_on_device(of, *engine, on.decoder), fmt::format("seed {}", seed));
  }
}

// What a system refuses to pin cannot be gathered, and is computed by the CPU.
TEST(DeviceLanes, MemoryThatIsNotPinnedIsTheCpus) {
  const Case of{.model = "qwen3moe", .pieces = {1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Lanes on(*engine, {.slots = 0.5, .misses = Misses::kOverTheLink}, {.pinnable = Bytes(0)},
           DeviceKind::kEmulated);
  expect_same(expected, run_on_device(of, *engine, on.decoder), "nothing pinned");
  EXPECT_EQ(on.model.work().experts.fetched, 0u);
}

TEST(DeviceLanes, SlotsAreGivenBackAndTakenAgain) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Lanes on(*engine, {.slots = 0.75, .misses = Misses::kToBoth});
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  const Bytes at_first = on.model.experts().memory();
  Outcome found;
  decode(on.decoder, std::span(tokens).first(1), 0, found);
  on.model.set_slots(share_of_slots(engine->model(), 0.25));
  EXPECT_LE(on.model.experts().memory(), at_first);
  decode(on.decoder, std::span(tokens).subspan(1, 1), 1, found);
  on.model.leave_ram();  // as before memory of the store goes
  on.model.set_slots(share_of_slots(engine->model(), 0.75));
  EXPECT_EQ(on.model.experts().memory(), at_first);
  decode(on.decoder, std::span(tokens).subspan(2, 1), 2, found);
  expect_same(expected, found, "slots that change");
}

TEST(DeviceLanes, AnExpertThatCannotBeReadIsTheErrorItIsAndOtherStepsAreRight) {
  const Case of{.model = "qwen3moe", .pieces = {2, 1}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  const auto weather = std::make_shared<ReadWeather>();
  const auto engine = open(of, roomy->model().experts.total(), weather);
  Lanes on(*engine, {.slots = 0.25});
  weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  EXPECT_THAT(expect_error(ErrorCode::kIo,
                           [&] {
                             Outcome failed;
                             decode(on.decoder, std::vector<TokenId>{3}, 0, failed);
                           }),
              HasSubstr("expert"));
  weather->expect_calm();
  expect_same(expected, run_on_device(of, *engine, on.decoder), "after the error");
}

TEST(DeviceLanes, EndWithTheirDevice) {
  const Case of{.model = "qwen3moe", .pieces = {1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const auto operations = [&](std::uint64_t last) {
    Lanes on(*engine, {.slots = 0.5, .misses = Misses::kToBoth}, {.last_operation = last},
             DeviceKind::kEmulated);
    run_on_device(of, *engine, on.decoder);
    return on.device.emulation().operations();
  };
  const std::uint64_t all = operations(0);
  for (const std::uint64_t before_the_end : {4u, 20u, 60u})
    expect_error(ErrorCode::kDevice, [&] { operations(all - before_the_end); });
}

// Steps of one token choose a rung; the rest of the ladder is for other machines.
TEST(DeviceLanes, FollowALadderOfMeasuredRates) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  const profiler::LaneCosts costs{.gpu_rate = 1e12,
                                  .link_rate = 25e9,
                                  .cpu_rate = 40e9,
                                  .both_rate = 50e9,
                                  .link_join = 5e-6,
                                  .cpu_join = 5e-6};
  DeviceRun on(*engine,
               {.slots_of_class = share_of_slots(engine->model(), 0.5),
                .fetches = profiler::fetch_ladder(
                    costs, DeviceLanes::experts_of_step(engine->model(), kMostDeviceRows))});
  expect_same(expected, run_on_device(of, *engine, on.decoder), "a ladder");
}

TEST(DeviceLanes, TakeTheMemoryOfThePlan) {
  for (const char* name : {"qwen3moe-kquants", "gpt-oss-f16"}) {
    const auto engine = open({.model = name});
    EmulatedDevice device({});
    const Bytes before = device.memory().free;
    const std::vector<std::uint32_t> slots = share_of_slots(engine->model(), 0.5);
    const DeviceModel model(*engine, device, kernels::emulated_kernels(),
                            {.slots_of_class = slots});
    EXPECT_EQ(before - device.memory().free,
              DeviceModel::plan(engine->model(), slots, engine->threads()).total())
        << name;
  }
}

TEST(DeviceLanes, SlotsFitTheBytesTheyAreFor) {
  const auto engine = open({.model = "qwen3moe"});
  const Model& model = engine->model();
  const auto bytes = [&](double of_all) {
    return DeviceModel::plan(model, share_of_slots(model, of_all), 1).experts;
  };
  EXPECT_EQ(DeviceModel::slots_within(model, bytes(1)), share_of_slots(model, 1));
  EXPECT_EQ(DeviceModel::slots_within(model, bytes(0)), share_of_slots(model, 0));
  const auto half = DeviceModel::slots_within(model, bytes(0.5));
  EXPECT_LE(DeviceModel::plan(model, half, 1).experts, bytes(0.5));
  EXPECT_GE(half, share_of_slots(model, 0.5));
}

// Each allocation of the load, on the device and mapped: one error, and nothing is left.
TEST(DeviceLanes, AnAllocationThatIsRefusedIsOneError) {
  const auto engine = open({.model = "qwen3moe"});
  const auto load = [&](const DeviceOptions& options) {
    EmulatedDevice device(options);
    const DeviceModel model(*engine, device, kernels::emulated_kernels(),
                            {.slots_of_class = share_of_slots(engine->model(), 0.5)});
    return std::pair(device.allocations(), device.mapped_allocations());
  };
  const auto expect_refused = [&](const DeviceOptions& options) {
    expect_error(ErrorCode::kBudget, [&] { load(options); });
  };
  const auto [of_device, mapped] = load({});
  for (std::uint64_t n = 1; n <= of_device; ++n) expect_refused({.failing_allocation = n});
  for (std::uint64_t n = 1; n <= mapped; ++n) expect_refused({.failing_mapped = n});
}

}  // namespace
}  // namespace hearth::runtime
