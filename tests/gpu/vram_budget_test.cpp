// --vram bounds all that the process takes of a device: what its driver takes, and keys and values
// as they grow, is room that experts give up. No answer changes with it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"
#include "tests/gpu/support/made_device.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"

namespace hearth::runtime {
namespace {

// Less of a prompt at once would make room.
EngineOptions in_steps(const std::string& model) {
  EngineOptions options = golden_options(model);
  options.batch = kMostDeviceRows;
  return options;
}

using kernels::KvFormat;
using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;

std::uint32_t total(const DeviceModel& model) {
  std::uint32_t slots = 0;
  for (std::size_t c = 0; c < DeviceModel::classes(model.model()).experts.size(); ++c)
    slots += model.experts().slots(static_cast<std::uint8_t>(c));
  return slots;
}

// Memory for 16 positions at first, doubled in the middle of steps' ways.
TEST(VramBudget, KeysAndValuesGrowAtAnyMoment) {
  const std::vector<std::uint32_t> pieces{8, 7, 8, 8, 1, 8};
  const Case cases[] = {{.model = "qwen3moe",
                         .formats = {.keys = KvFormat::kQ8_0, .values = KvFormat::kQ4_1, .tail = 5},
                         .pieces = pieces},
                        {.model = "deepseek2-v3", .pieces = pieces},
                        {.model = "qwen35moe", .pieces = {8, 8, 8, 8, 1}}};
  for (const Case& of : cases) {
    const auto engine = open(of);
    kernels::OneDevice device({});
    DeviceModel model(*engine, device.get(), device.kernels());
    DeviceDecoder decoder(model,
                          {.context = kContext, .formats = engine->kv_formats(), .positions = 16});
    EXPECT_EQ(decoder.positions(), 16u);
    expect_same(run_on_cpu(of, *engine), run_on_device(of, *engine, decoder), of.model);
    EXPECT_GT(decoder.positions(), 16u);
    const Bytes grown = device.get().use().allocated;
    decoder.reset();
    EXPECT_EQ(decoder.positions(), 16u);
    EXPECT_LT(device.get().use().allocated, grown);
    Outcome again;
    decode(decoder, tokens_of({.model = of.model, .pieces = {2}}, engine->config().vocabulary), 0,
           again);
    expect_same(run_on_cpu({.model = of.model, .pieces = {2}}, *engine), again, "again");
  }
}

// What grows takes slots, and gives them back; the device never has more than the budget.
TEST(VramBudget, SlotsMakeRoomAndComeBack) {
  const Case of{.model = "qwen3moe", .pieces = {8, 8, 8, 8, 8}};
  const auto engine = open(of);
  const std::vector<std::uint32_t> slots = DeviceModel::slots_within(
      engine->model(), DeviceModel::plan(engine->model()).experts - Bytes(30'000));
  const DeviceDecoder::Options options{
      .context = kContext, .formats = engine->kv_formats(), .positions = 16};
  const Bytes budget = DeviceModel::plan(engine->model(), slots, engine->threads()).lanes.device +
                       DeviceModel::plan(engine->model(), slots, engine->threads()).dense +
                       DeviceModel::plan(engine->model(), slots, engine->threads()).experts +
                       DeviceDecoder::plan(engine->model(), options).total();
  EmulatedDevice device({});
  DeviceModel model(*engine, device, kernels::emulated_kernels(),
                    {.slots_of_class = slots, .budget = budget});
  const std::uint32_t at_first = total(model);
  DeviceDecoder decoder(model, options);
  expect_same(run_on_cpu(of, *engine), run_on_device(of, *engine, decoder), "grown");
  EXPECT_LT(total(model), at_first);
  EXPECT_LE(device.peak(), budget);
  decoder.reset();
  EXPECT_EQ(total(model), at_first);
  EXPECT_LE(device.peak(), budget);
}

std::vector<float> logits_of(Engine& engine, std::uint32_t tokens = 12) {
  Session session(engine);
  std::vector<TokenId> ids;
  for (std::uint32_t i = 0; i < tokens; ++i) ids.push_back(static_cast<TokenId>(i * 37 % 160));
  return logits_of(session, ids, tokens - 2);
}

struct Notices {
  std::vector<std::string> lines;
  void listen_to(EngineOptions& options) {
    options.notice = [this](const std::string& line) { lines.push_back(line); };
  }
};

// The driver's memory is in the plan; where it takes more than was left to it, experts make room.
TEST(VramBudget, CountsTheDriver) {
  Engine cpu(golden_options("qwen3moe"));
  const std::vector<float> expected = logits_of(cpu);
  const Bytes all = Engine(on_device(in_steps("qwen3moe"))).plan().vram->total();
  const Bytes driver(50'000);  // context, kernels, and graphs
  for (const std::uint64_t left : {40'000u, 0u}) {
    const DeviceOptions device_options{.context = Bytes(10'000),
                                       .kernels = Bytes(20'000),
                                       .graph = Bytes(5'000),
                                       .driver_growth = Bytes(left)};
    EmulatedDevice* device = nullptr;
    EngineOptions options = on_device(in_steps("qwen3moe"), &device, device_options);
    options.budget.vram = all + Bytes(10'000);
    Notices notices;
    notices.listen_to(options);
    Engine engine(options);
    EXPECT_GE(engine.plan().vram->process, Bytes(10'000 + left));
    EXPECT_EQ(engine.vram_budget(), all + Bytes(10'000));
    EXPECT_TRUE(logits_of(engine) == expected) << left;
    EXPECT_LE(device->peak(), *options.budget.vram + (left > 0 ? Bytes(0) : driver)) << left;
    EXPECT_LE(device->use().total(), *options.budget.vram) << left;
    EXPECT_EQ(notices.lines.empty(), left > 0);
  }
}

// A graph that the driver has no memory for is a load that is tried again, with fewer experts.
TEST(VramBudget, MakesRoomForGraphs) {
  Engine cpu(golden_options("qwen3moe"));
  const Bytes all = Engine(on_device(in_steps("qwen3moe"))).plan().vram->total();
  EmulatedDevice* device = nullptr;
  EngineOptions options = on_device(in_steps("qwen3moe"), &device,
                                    {.memory = all + Bytes(5'000), .graph = Bytes(15'000)});
  Notices notices;
  notices.listen_to(options);
  Engine engine(options);
  EXPECT_FALSE(notices.lines.empty());
  EXPECT_TRUE(logits_of(engine) == logits_of(cpu));
  EXPECT_LE(device->peak(), all + Bytes(5'000));
}

// Other programs' memory is not this one's, but cannot be had either.
TEST(VramBudget, LeavesOthersAlone) {
  EmulatedDevice* device = nullptr;
  EngineOptions options = on_device(in_steps("qwen3moe"), &device, {.memory = 8 * kMiB});
  const auto open = options.device->open;
  options.device->open = [&, open] {
    auto made = open();
    device->set_others(7 * kMiB + Bytes(300'000));
    return made;
  };
  Engine engine(options);
  EXPECT_EQ(engine.vram_budget(), kMiB - Bytes(300'000));
  EXPECT_LE(engine.plan().vram->total(), engine.vram_budget());
  EXPECT_LE(device->peak(), engine.vram_budget());
  Engine cpu(golden_options("qwen3moe"));
  EXPECT_TRUE(logits_of(engine) == logits_of(cpu));
}

// Every allocation of the load may fail once.
TEST(VramBudget, ShrinksThePlanWhereMemoryFails) {
  Engine cpu(golden_options("qwen3moe"));
  const std::vector<float> expected = logits_of(cpu);
  for (const std::uint64_t number : {1, 9, 20, 33, 45}) {
    EngineOptions options =
        on_device(in_steps("qwen3moe"), nullptr, {.failing_allocation = number});
    Notices notices;
    notices.listen_to(options);
    Engine engine(options);
    EXPECT_TRUE(logits_of(engine) == expected) << number;
    EXPECT_FALSE(notices.lines.empty()) << number;
    ASSERT_NE(engine.device_model(), nullptr);
    EXPECT_LT(engine.plan().vram->slots(), engine.plan().experts);
  }
}

TEST(VramBudget, ShrinksAsFarAsItMust) {
  const profiler::TierPlan all = *Engine(on_device(in_steps("qwen3moe"))).plan().vram;
  const auto with = [&](Bytes to_be_had) {
    EngineOptions options = on_device(in_steps("qwen3moe"), nullptr,
                                      {.memory = 4 * kMiB, .unusable = 4 * kMiB - to_be_had});
    return options;
  };
  Engine fewer(with(all.total() - Bytes(all.experts.count / 3)));
  EXPECT_LT(fewer.plan().vram->slots(), fewer.plan().experts);
  const Bytes nothing(all.dense.count / 2);
  try {
    const Engine none(with(nothing));
    ADD_FAILURE() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBudget);
    EXPECT_NE(std::string(error.what()).find("are not to be had"), std::string::npos)
        << error.what();
  }
  EngineOptions options = with(nothing);
  options.device->if_it_fits = true;
  Engine fallen_back(options), cpu(golden_options("qwen3moe"));
  EXPECT_EQ(fallen_back.device_model(), nullptr);
  EXPECT_NE(fallen_back.why_no_device().find("are not to be had"), std::string::npos);
  EXPECT_TRUE(logits_of(fallen_back) == logits_of(cpu));
}

// A long context begins with a part, and the plan says so.
TEST(VramBudget, ALongContextBeginsWithAPart) {
  EngineOptions options = in_steps("qwen3moe");
  options.context = 8192;
  const profiler::TierPlan all = *Engine(on_device(options)).plan().vram;
  EXPECT_EQ(all.positions, 0u);
  EmulatedDevice* device = nullptr;
  options = on_device(options, &device);
  options.budget.vram = all.total() - Bytes(100'000);
  Engine engine(options);
  EXPECT_EQ(engine.plan().vram->positions, 2048u);
  EXPECT_GT(engine.plan().vram->slots(), 0u);
  Session session(engine);
  session.fill_at_random(2046, 3);
  const std::uint32_t before = total(*engine.device_model());
  options.device.reset();
  options.budget = {};
  Engine cpu(options);
  Session of_cpu(cpu);
  of_cpu.fill_at_random(2046, 3);
  for (const TokenId token : {1, 2, 3, 4}) {
    const auto expected = of_cpu.evaluate({&token, 1}), found = session.evaluate({&token, 1});
    EXPECT_TRUE(std::ranges::equal(expected, found));
  }
  EXPECT_LE(total(*engine.device_model()), before);
  EXPECT_LE(device->peak(), all.total() - Bytes(100'000));
}

}  // namespace
}  // namespace hearth::runtime
