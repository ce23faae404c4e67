// A session whose engine has a device: the logits of the CPU, the memory of the plan, and what a
// device that is too small, or lost, looks like.
#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"
#include "tests/gpu/support/made_device.h"

namespace hearth::runtime {
namespace {

using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;

struct Outcome {
  std::vector<float> logits;
  std::vector<std::uint16_t> experts;
  bool operator==(const Outcome&) const = default;
};

// More tokens than a step of a device has; then back, where that can be, and from the start.
Outcome run(Engine& engine) {
  Outcome outcome;
  Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) {
    // Of rows one by one, as steps differ in theirs.
    if (routing.layer == 0)
      outcome.experts.insert(outcome.experts.end(), routing.experts.begin(), routing.experts.end());
  });
  const auto add = [&](std::uint32_t, std::span<const float> row) {
    outcome.logits.insert(outcome.logits.end(), row.begin(), row.end());
  };
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 11; ++i) tokens.push_back((i * 37 + 3) % 160);
  session.evaluate(tokens, 7, add);
  if (session.most_rewind() >= 5) session.rewind(session.position() - 5);
  session.evaluate(std::span(tokens).first(2), 0, add);
  session.reset();
  session.evaluate(std::span(tokens).first(3), 0, add);
  EXPECT_EQ(session.position(), 3u);
  return outcome;
}

// Of all matrices the host has none: those with vectors that it computes with, and one whose
// matrices are made of others.
TEST(DeviceSession, GivesTheLogitsOfTheCpu) {
  for (const char* model : {"qwen3moe", "qwen35moe", "gpt-oss", "gemma4", "deepseek2-v3"}) {
    Engine cpu(golden_options(model)), gpu(on_any_device(golden_options(model)));
    ASSERT_NE(gpu.device_model(), nullptr);
    EXPECT_EQ(gpu.model().token_embedding->data, nullptr);
    const Outcome expected = run(cpu), found = run(gpu);
    ASSERT_FALSE(expected.logits.empty());
    EXPECT_EQ(expected.logits.size(), found.logits.size()) << model;
    EXPECT_TRUE(expected == found) << model;
  }
}

TEST(DeviceSession, TakesTheMemoryOfThePlan) {
  for (const char* model : {"qwen3moe", "qwen3moe-kquants", "qwen35moe", "deepseek2-v3"}) {
    EmulatedDevice* device = nullptr;
    Engine engine(on_device(golden_options(model), &device));
    const profiler::TierPlan& planned = *engine.plan().vram;
    EXPECT_EQ(planned.slots(), engine.plan().experts);
    const Bytes all = device->memory().total;
    {
      const Session session(engine);
      EXPECT_EQ(all - device->memory().free, planned.total()) << model;
      EXPECT_TRUE(session.memory().empty());
    }
    EXPECT_EQ(device->peak(), planned.total()) << model;
  }
}

// Whatever the device holds, the logits are the same, and its memory that of the plan.
TEST(DeviceSession, GivesTheSameLogitsForEveryBudget) {
  Engine cpu(golden_options("qwen3moe"));
  const Outcome expected = run(cpu);
  EngineOptions options = on_device(golden_options("qwen3moe"));
  options.batch = kMostDeviceRows;  // less of a prompt at once would make room
  const Bytes most = Engine(options).plan().vram->total();
  for (const std::uint64_t less : {1u, 120'000u}) {
    EmulatedDevice* device = nullptr;
    options = on_device(golden_options("qwen3moe"), &device);
    options.batch = kMostDeviceRows;
    options.budget.vram = most - Bytes(less);
    Engine engine(options);
    const profiler::TierPlan& planned = *engine.plan().vram;
    EXPECT_LT(planned.slots(), engine.plan().experts);
    EXPECT_LE(planned.total(), *options.budget.vram);
    EXPECT_TRUE(run(engine) == expected) << less;
    EXPECT_EQ(device->peak(), planned.total()) << less;
  }
}

// Guesses change no answer; whether there are any is said, and asked for.
TEST(DeviceSession, PrefetchesWhereTheLinkWasMeasured) {
  Engine cpu(golden_options("qwen3moe"));
  const Outcome expected = run(cpu);
  const auto in_steps = [] {
    EngineOptions options = on_device(golden_options("qwen3moe"));
    options.batch = kMostDeviceRows;  // else prompts would pass in shorter chunks
    return options;
  };
  const Bytes most = Engine(in_steps()).plan().vram->total();
  const auto open = [&](bool wanted, bool measured, Bytes vram) {
    EngineOptions options = in_steps();
    options.budget.vram = vram;
    options.prefetch = wanted;
    if (measured) {
      profiler::Machine machine;
      machine.cpu.memory_read = {{.threads = 1, .rate = 20e9}};
      machine.gpu = {.memory_read = 400e9,
                     .host_to_device = 24e9,
                     .host_to_device_shared = 20e9,
                     .gather_shared = 20e9,
                     .cpu_shared = 20e9};
      options.device->rates = machine;
    }
    return std::make_unique<Engine>(options);
  };
  const Bytes less = most - Bytes(120'000);
  const auto engine = open(true, true, less);
  EXPECT_TRUE(engine->prefetching());
  EXPECT_TRUE(run(*engine) == expected);
  EXPECT_FALSE(open(false, true, less)->prefetching());
  EXPECT_FALSE(open(true, false, less)->prefetching());
  EXPECT_FALSE(open(true, true, most)->prefetching());
}

ErrorCode error_of(const EngineOptions& options, const std::string& part) {
  try {
    Engine engine(options);
    Session session(engine);
    session.evaluate(std::vector<TokenId>{1});
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    return error.code();
  }
  ADD_FAILURE() << "nothing failed";
  return {};
}

TEST(DeviceSession, TakesTheCpuWhereItMay) {
  EngineOptions options = on_device(golden_options("qwen3moe"));
  const Engine engine(options);
  const profiler::TierPlan& all = *engine.plan().vram;
  options.budget.vram = all.total();
  EXPECT_EQ(Engine(options).plan().vram->total(), all.total());
  options.budget.vram = Bytes(100'000);
  EXPECT_EQ(error_of(options, "GPU memory"), ErrorCode::kBudget);
  options.device->if_it_fits = true;
  const Engine fallen_back(options);
  EXPECT_EQ(fallen_back.device_model(), nullptr);
  EXPECT_NE(fallen_back.why_no_device().find("GPU memory"), std::string::npos);
}

TEST(DeviceSession, TakesTheCpuWhereTheDeviceDoesNotOpen) {
  EngineOptions options = on_device(golden_options("qwen3moe"));
  options.device->open = []() -> std::unique_ptr<kernels::Device> {
    throw_error(ErrorCode::kDevice, "opening the device failed: out of memory");
  };
  EXPECT_EQ(error_of(options, "opening the device"), ErrorCode::kDevice);
  options.device->if_it_fits = true;
  const Engine fallen_back(options);
  EXPECT_EQ(fallen_back.device_model(), nullptr);
  EXPECT_NE(fallen_back.why_no_device().find("opening the device"), std::string::npos);
}

TEST(DeviceSession, EndsWithItsDevice) {
  for (const std::uint64_t last : {1u, 300u})
    EXPECT_EQ(
        error_of(on_device(golden_options("qwen3moe"), nullptr, {.last_operation = last}), ""),
        ErrorCode::kDevice)
        << last;
}

}  // namespace
}  // namespace hearth::runtime
