// Whole models with fewer slots than experts: hits, the link and the CPU give together the bits of
// the CPU alone, whatever the split, the order and the tier an expert comes from; memory to the
// byte of the plan; and how a lane fails.
#include "runtime/gpu/device_lanes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <ostream>

#include "base/error.h"
#include "kernels/gpu/emulation/device.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"
#include "tests/gpu/support/test_device.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::runtime {
namespace {

using kernels::OneDevice;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Streams;
using testing::FakeReader;
using testing::ReadWeather;

enum class Misses { kToTheCpu, kOverTheLink, kToBoth };

profiler::FetchLadder ladder(const Model& model, Misses misses) {
  profiler::FetchTable table(DeviceLanes::experts_of_step(model, kMostDeviceRows).used + 1, 0);
  for (std::uint32_t n = 0; n < table.size(); ++n) {
    if (misses == Misses::kOverTheLink) table[n] = n;
    if (misses == Misses::kToBoth) table[n] = (n + 1) / 2;
  }
  return {.rungs = {table}};
}

std::vector<std::uint32_t> share(const Model& model, double of_all) {
  std::vector<std::uint32_t> slots;
  for (const std::uint32_t experts : DeviceModel::classes(model).experts)
    slots.push_back(static_cast<std::uint32_t>(of_all * experts));
  return slots;
}

// Whether a class has slots for all experts that a token uses: else nothing is fetched into it.
bool holds_a_token(const Model& model, std::span<const std::uint32_t> slots) {
  const SizeClasses classes = DeviceModel::classes(model);
  for (std::uint8_t c = 0; c < slots.size(); ++c)
    if (slots[c] >= std::ranges::count(classes.class_of_layer, c) * model.config.experts_used)
      return true;
  return false;
}

kernels::ExpertCounters sum(DeviceModel& model) {
  kernels::ExpertCounters all;
  for (const kernels::ExpertCounters& layer : model.counters()) {
    all.hits += layer.hits;
    all.fetched += layer.fetched;
    all.on_host += layer.on_host;
    all.not_in_ram += layer.not_in_ram;
  }
  return all;
}

struct Setting {
  double slots = 0;  // of all experts
  Misses misses = Misses::kToTheCpu;
};

struct Seen {
  Outcome outcome;
  kernels::ExpertCounters counters;
};

Seen run(const Case& of, Engine& engine, const Setting& setting, kernels::Device& device,
         const kernels::GpuKernels& kernels = kernels::emulated_kernels()) {
  DeviceModel model(engine, device, kernels,
                    {.slots_of_class = share(engine.model(), setting.slots),
                     .fetches = ladder(engine.model(), setting.misses)});
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine.kv_formats()});
  Outcome outcome = run_on_device(of, engine, decoder);
  return {std::move(outcome), sum(model)};
}
Seen run(const Case& of, Engine& engine, const Setting& setting, OneDevice& device) {
  return run(of, engine, setting, device.get(), device.kernels());
}

void expect_bits_of_the_cpu(const Case& of, std::span<const Setting> settings) {
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  unsigned lanes = 32;
  for (const Setting& setting : settings) {
    OneDevice device({.lanes = lanes});
    const Seen found = run(of, *engine, setting, device);
    const std::string where = fmt::format("{} of the slots, misses {}, {} lanes", setting.slots,
                                          static_cast<int>(setting.misses), lanes);
    expect_same(expected, found.outcome, where);
    EXPECT_EQ(found.counters.hits > 0, setting.slots > 0) << where;
    const bool fetches = setting.misses != Misses::kToTheCpu &&
                         holds_a_token(engine->model(), share(engine->model(), setting.slots));
    EXPECT_EQ(found.counters.fetched > 0, fetches) << where;
    if (setting.misses != Misses::kOverTheLink) {
      EXPECT_EQ(found.counters.on_host > 0, setting.slots < 1) << where;
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

std::string name_of(const ::testing::TestParamInfo<const char*>& of) {
  std::string name = of.param;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Architectures, DeviceLanesOf,
                         ::testing::Values("qwen3moe-f16", "qwen3moe-kquants", "gpt-oss",
                                           "deepseek2-v3", "llama4", "gemma4", "qwen35moe"),
                         name_of);

// A token at a time, with slots for all that one uses: what misses is fetched, all of it.
TEST(DeviceLanes, TheLinkAloneServesAllMisses) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  OneDevice device({});
  const Seen found = run(of, *engine, {.slots = 0.5, .misses = Misses::kOverTheLink}, device);
  expect_same(expected, found.outcome, "the link alone");
  EXPECT_GT(found.counters.fetched, 0u);
  EXPECT_EQ(found.counters.on_host, 0u);
}

// Fewer slots than a token uses: what is in them stays there.
TEST(DeviceLanes, BelowOneCycleNothingIsFetched) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  const ModelConfig& config = engine->config();
  const double cycle = config.layers * config.experts_used;
  OneDevice device({});
  const Seen found =
      run(of, *engine,
          {.slots = (cycle - 1) / engine->model().experts.total(), .misses = Misses::kOverTheLink},
          device);
  expect_same(expected, found.outcome, "below one cycle");
  EXPECT_EQ(found.counters.fetched, 0u);
  EXPECT_GT(found.counters.on_host, 0u);
}

// Of RAM there is no more than a token needs of each size, or a little more: the rest is on disk,
// and comes late and in any order.
TEST(DeviceLanes, ExpertsComeFromDisk) {
  const Case of{.model = "qwen3moe", .pieces = {3, 1, 1}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  Bytes least;
  for (const profiler::ExpertClass& one : roomy->needs().classes)
    least += one.slot * roomy->config().experts_used;
  for (const std::uint64_t times : {1u, 3u}) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 5;
    EngineOptions options = engine_options(of);
    options.budget = {.expert_ram = least * times};
    options.open_reader = [&](const std::vector<std::string>& paths, const io::ReaderOptions&) {
      return std::make_unique<FakeReader>(paths, weather);
    };
    Engine engine(options);
    OneDevice device({.lanes = times == 1 ? 32u : 64u});
    const Seen found = run(of, engine, {.slots = 0.5, .misses = Misses::kToBoth}, device);
    expect_same(expected, found.outcome, fmt::format("{} times the least RAM", times));
    EXPECT_GT(found.counters.not_in_ram, 0u);
    EXPECT_EQ(found.counters.fetched > 0, times > 1);
  }
}

TEST(DeviceLanes, EveryOrderOfStreamsGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const std::uint64_t seed : {1u, 2u}) {
    OneDevice device(
        {.lanes = seed == 1 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled});
    const Seen found = run(of, *engine, {.slots = 0.5, .misses = Misses::kToBoth}, device);
    expect_same(expected, found.outcome, fmt::format("seed {}", seed));
  }
}

// What a system refuses to pin cannot be gathered, and is computed by the CPU.
TEST(DeviceLanes, MemoryThatIsNotPinnedIsTheCpus) {
  const Case of{.model = "qwen3moe", .pieces = {1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  EmulatedDevice device({.pinnable = Bytes(0)});
  const Seen found = run(of, *engine, {.slots = 0.5, .misses = Misses::kOverTheLink}, device);
  expect_same(expected, found.outcome, "nothing pinned");
  EXPECT_EQ(found.counters.fetched, 0u);
}

TEST(DeviceLanes, SlotsAreGivenBackAndTakenAgain) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  OneDevice device({});
  const std::vector<std::uint32_t> many = share(engine->model(), 0.75),
                                   few = share(engine->model(), 0.25);
  DeviceModel model(*engine, device.get(), device.kernels(),
                    {.slots_of_class = many, .fetches = ladder(engine->model(), Misses::kToBoth)});
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  const Bytes at_first = model.experts().memory();
  Outcome found;
  decode(decoder, std::span(tokens).first(1), 0, found);
  model.set_slots(few);
  EXPECT_LE(model.experts().memory(), at_first);
  decode(decoder, std::span(tokens).subspan(1, 1), 1, found);
  model.leave_ram();  // as before memory of the store goes
  model.set_slots(many);
  EXPECT_EQ(model.experts().memory(), at_first);
  decode(decoder, std::span(tokens).subspan(2, 1), 2, found);
  expect_same(expected, found, "slots that change");
}

TEST(DeviceLanes, AnExpertThatCannotBeReadIsTheErrorItIsAndOtherStepsAreRight) {
  const Case of{.model = "qwen3moe", .pieces = {2, 1}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  const auto weather = std::make_shared<ReadWeather>();
  EngineOptions options = engine_options(of);
  options.open_reader = [&](const std::vector<std::string>& paths, const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
  Engine engine(options);
  OneDevice device({});
  DeviceModel model(engine, device.get(), device.kernels(),
                    {.slots_of_class = share(engine.model(), 0.25)});
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine.kv_formats()});
  weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  Outcome failed;
  try {
    decode(decoder, tokens_of({.model = of.model, .pieces = {1}}, 1), 0, failed);
    FAIL() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
    EXPECT_NE(std::string(error.what()).find("expert"), std::string::npos) << error.what();
  }
  weather->expect_calm();
  expect_same(expected, run_on_device(of, engine, decoder), "after the error");
}

TEST(DeviceLanes, EndWithTheirDevice) {
  const Case of{.model = "qwen3moe", .pieces = {1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const Setting setting{.slots = 0.5, .misses = Misses::kToBoth};
  EmulatedDevice whole({});
  run(of, *engine, setting, whole);
  for (const std::uint64_t before_the_end : {4u, 20u, 60u}) {
    EmulatedDevice device({.last_operation = whole.operations() - before_the_end});
    try {
      run(of, *engine, setting, device);
      ADD_FAILURE() << before_the_end;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice) << error.what();
    }
  }
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
  OneDevice device({});
  DeviceModel model(*engine, device.get(), device.kernels(),
                    {.slots_of_class = share(engine->model(), 0.5),
                     .fetches = profiler::fetch_ladder(
                         costs, DeviceLanes::experts_of_step(engine->model(), kMostDeviceRows))});
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
  expect_same(expected, run_on_device(of, *engine, decoder), "a ladder");
}

TEST(DeviceLanes, TakeTheMemoryOfThePlan) {
  for (const char* name : {"qwen3moe-kquants", "gpt-oss-f16"}) {
    const auto engine = open({.model = name});
    EmulatedDevice device({});
    const Bytes before = device.memory().free;
    const std::vector<std::uint32_t> slots = share(engine->model(), 0.5);
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
    return DeviceModel::plan(model, share(model, of_all), 1).experts;
  };
  EXPECT_EQ(DeviceModel::slots_within(model, bytes(1)), share(model, 1));
  EXPECT_EQ(DeviceModel::slots_within(model, bytes(0)), share(model, 0));
  const auto half = DeviceModel::slots_within(model, bytes(0.5));
  EXPECT_LE(DeviceModel::plan(model, half, 1).experts, bytes(0.5));
  EXPECT_GE(half, share(model, 0.5));
}

// Each allocation of the load, on the device and mapped: one error, and nothing is left.
TEST(DeviceLanes, AnAllocationThatIsRefusedIsOneError) {
  const auto engine = open({.model = "qwen3moe"});
  const auto load = [&](const kernels::emulated::DeviceOptions& options) {
    EmulatedDevice device(options);
    const DeviceModel model(*engine, device, kernels::emulated_kernels(),
                            {.slots_of_class = share(engine->model(), 0.5)});
    return std::pair(device.allocations(), device.mapped_allocations());
  };
  const auto expect_refused = [&](const kernels::emulated::DeviceOptions& options) {
    try {
      load(options);
      ADD_FAILURE() << options.failing_allocation << ", " << options.failing_mapped;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBudget) << error.what();
    }
  };
  const auto [of_device, mapped] = load({});
  for (std::uint64_t n = 1; n <= of_device; ++n) expect_refused({.failing_allocation = n});
  for (std::uint64_t n = 1; n <= mapped; ++n) expect_refused({.failing_mapped = n});
}

}  // namespace
}  // namespace hearth::runtime
