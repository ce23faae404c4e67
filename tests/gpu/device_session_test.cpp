// A session whose engine has a device: the logits of the CPU, the memory of the plan, and what a
// device that is too small, or lost, looks like.
#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"
#include "runtime/session_file.h"

namespace hearth::runtime {
namespace {

using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;

EngineOptions options_of(const std::string& model) {
  return {.model_path = HEARTH_SOURCE_DIR "/tests/golden/" + model + ".gguf",
          .context = 96,
          .threads = 1};
}

// `device` is that of the engine, while there is one.
EngineOptions on_device(EngineOptions options, EmulatedDevice** device = nullptr,
                        const DeviceOptions& of = {}) {
  options.device = {.name = "made0",
                    .open =
                        [device, of] {
                          auto made = std::make_unique<EmulatedDevice>(of);
                          if (device != nullptr) *device = made.get();
                          return made;
                        },
                    .kernels = &kernels::emulated_kernels()};
  return options;
}

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

TEST(DeviceSession, GivesTheLogitsOfTheCpu) {
  for (const char* model : {"qwen3moe", "qwen35moe"}) {
    Engine cpu(options_of(model)), gpu(on_device(options_of(model)));
    ASSERT_NE(gpu.device_model(), nullptr);
    const Outcome expected = run(cpu), found = run(gpu);
    ASSERT_FALSE(expected.logits.empty());
    EXPECT_EQ(expected.logits.size(), found.logits.size()) << model;
    EXPECT_TRUE(expected == found) << model;
  }
}

TEST(DeviceSession, TakesTheMemoryOfThePlan) {
  for (const char* model : {"qwen3moe", "qwen3moe-kquants", "qwen35moe", "deepseek2-v3"}) {
    EmulatedDevice* device = nullptr;
    Engine engine(on_device(options_of(model), &device));
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
  Engine cpu(options_of("qwen3moe"));
  const Outcome expected = run(cpu);
  EngineOptions options = on_device(options_of("qwen3moe"));
  const Bytes most = Engine(options).plan().vram->total();
  for (const std::uint64_t less : {1u, 120'000u}) {
    EmulatedDevice* device = nullptr;
    options = on_device(options_of("qwen3moe"), &device);
    options.budget.vram = most - Bytes(less);
    Engine engine(options);
    const profiler::TierPlan& planned = *engine.plan().vram;
    EXPECT_LT(planned.slots(), engine.plan().experts);
    EXPECT_LE(planned.total(), *options.budget.vram);
    EXPECT_TRUE(run(engine) == expected) << less;
    EXPECT_EQ(device->peak(), planned.total()) << less;
  }
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
  EngineOptions options = on_device(options_of("qwen3moe"));
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

TEST(DeviceSession, EndsWithItsDevice) {
  for (const std::uint64_t last : {1u, 300u})
    EXPECT_EQ(error_of(on_device(options_of("qwen3moe"), nullptr, {.last_operation = last}), ""),
              ErrorCode::kDevice)
        << last;
  EXPECT_EQ(error_of(on_device(options_of("qwen3moe"), nullptr, {.failing_allocation = 2}), "MiB"),
            ErrorCode::kBudget);
}

TEST(DeviceSession, SaysWhatDoesNotWork) {
  Engine engine(on_device(options_of("qwen3moe")));
  Session session(engine);
  session.evaluate(std::vector<TokenId>{1});
  EXPECT_THROW(save_session("/never/written", engine, session,
                            {.tokens = {1}, .logits = std::vector<float>(160)}),
               Error);
  EXPECT_THROW(session.fill_at_random(8, 1), Error);
}

}  // namespace
}  // namespace hearth::runtime
