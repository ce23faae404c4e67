// Whole models on a device: the logits and the decisions of the CPU, bit for bit, for every
// architecture; memory to the byte of the plan; and how a device fails.
#include <gtest/gtest.h>

#include "kernels/gpu/emulation/device.h"
#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"
#include "tests/gpu/support/device_run.h"
#include "tests/gpu/support/expect_error.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;
using kernels::TestDevice;

class DeviceModels : public ::testing::TestWithParam<Case> {};

// Graphs of one and of several rows, used once and again.
TEST_P(DeviceModels, GiveTheBitsOfTheCpu) {
  const auto engine = open(GetParam());
  const Outcome expected = run_on_cpu(GetParam(), *engine);
  ASSERT_FALSE(expected.logits.empty() || expected.experts.empty());
  for (const TestDevice& on : kernels::test_devices()) {
    DeviceModel model(*engine, *on.device, *on.kernels);
    DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
    expect_same(expected, run_on_device(GetParam(), *engine, decoder), on.name);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, DeviceModels,
                         ::testing::ValuesIn(every_architecture({3, 1, 1})), name_of_case);

// Beyond the first tile, which is encoded for a row in the middle of a step.
const std::vector<std::uint32_t> kPastATile = {8, 8, 8, 8, 8};
INSTANTIATE_TEST_SUITE_P(
    QuantizedCaches, DeviceModels,
    ::testing::Values(
        Case{.model = "qwen3moe",
             .formats = {.keys = KvFormat::kQ8_0, .values = KvFormat::kQ4_1, .tail = 5},
             .pieces = kPastATile},
        Case{.model = "gemma4",
             .formats = {.keys = KvFormat::kQ5_1, .values = KvFormat::kQ8_0},
             .pieces = kPastATile}),
    name_of_case);

TEST(DeviceModel, ReadsExpertsThatAreNotInRam) {
  const Case of{.model = "qwen3moe", .pieces = {3, 1}};
  const auto roomy = open(of);
  Bytes least;
  for (const profiler::ExpertClass& one : roomy->needs().classes)
    least += one.slot * roomy->config().experts_used;
  Engine tight({.model_path = path_of(of), .budget = {.expert_ram = least}, .threads = 1});
  const TestDevice& on = kernels::test_devices().front();
  DeviceModel model(tight, *on.device, *on.kernels);
  DeviceDecoder decoder(model, {.context = kContext, .formats = tight.kv_formats()});
  expect_same(run_on_cpu(of, *roomy), run_on_device(of, tight, decoder), on.name);
}

TEST(DeviceModel, BeginsAgainAsANewTimeline) {
  const Case of{.model = "qwen35moe", .pieces = {2, 1}};
  const auto engine = open(of);
  const TestDevice& on = kernels::test_devices().front();
  DeviceModel model(*engine, *on.device, *on.kernels);
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
  const Outcome first = run_on_device(of, *engine, decoder);
  decoder.reset();
  expect_same(first, run_on_device(of, *engine, decoder), "after a reset");
  EXPECT_EQ(decoder.graphs(), of.pieces.size());
}

// What two sessions of one model share is what no step changes.
TEST(DeviceModel, SessionsTakeTurns) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2, 1}};
  const auto engine = open(of);
  const TestDevice& on = kernels::test_devices().front();
  DeviceModel model(*engine, *on.device, *on.kernels);
  const DeviceDecoder::Options options{.context = kContext, .formats = engine->kv_formats()};
  DeviceDecoder one(model, options), other(model, options);
  const Outcome expected = run_on_cpu(of, *engine);
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  Outcome of_one, of_other;
  std::uint32_t position = 0;
  for (const std::uint32_t piece : of.pieces) {
    decode(one, std::span(tokens).subspan(position, piece), position, of_one);
    decode(other, std::span(tokens).subspan(position, piece), position, of_other);
    position += piece;
  }
  expect_same(expected, of_one, "one");
  expect_same(expected, of_other, "the other");
}

TEST(DeviceModel, FollowsATrace) {
  const Case of{.model = "qwen3moe", .pieces = {1, 3, 1}};
  const auto engine = open(of);
  const ForcedRouting trace = made_trace(*engine, 5);
  const TestDevice& on = kernels::test_devices().front();
  DeviceModel model(*engine, *on.device, *on.kernels);
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
  decoder.force_routing(&trace);
  expect_same(run_on_cpu(of, *engine, &trace), run_on_device(of, *engine, decoder), "forced");
  decoder.force_routing(nullptr);
  expect_same(run_on_cpu(of, *engine), run_on_device(of, *engine, decoder), "chosen");
}

TEST(DeviceModel, TakesTheMemoryOfThePlan) {
  for (const char* name : {"qwen3moe", "deepseek2-v3", "qwen35moe", "gemma4"}) {
    const auto engine = open({.model = name});
    kernels::emulated::EmulatedDevice device({});
    const Bytes before = device.memory().free;
    DeviceModel model(*engine, device, kernels::emulated_kernels());
    const Bytes of_model = before - device.memory().free;
    EXPECT_EQ(of_model, DeviceModel::plan(engine->model()).total()) << name;
    const DeviceDecoder::Options options{.context = 100, .formats = engine->kv_formats()};
    const DeviceDecoder decoder(model, options);
    EXPECT_EQ(before - device.memory().free - of_model,
              DeviceDecoder::plan(engine->model(), options).total())
        << name;
  }
}

// So that one list of slots is that of the plan, of the store and of the device.
TEST(DeviceModel, HasTheSizeClassesOfThePlan) {
  for (const char* name : {"qwen3moe-types32", "qwen3moe-kquants", "gpt-oss", "deepseek2-v3"}) {
    const auto engine = open({.model = name});
    const SizeClasses on_device = DeviceModel::classes(engine->model());
    EXPECT_EQ(on_device.class_of_layer, engine->needs().class_of_layer) << name;
    for (const std::uint64_t alignment : {1u, 512u, 4096u}) {
      const SizeClasses in_ram = size_classes(engine->model().experts, alignment);
      EXPECT_EQ(on_device.class_of_layer, in_ram.class_of_layer) << name << ", " << alignment;
      EXPECT_EQ(on_device.experts, in_ram.experts) << name << ", " << alignment;
    }
  }
}

void expect_error_of(Engine& engine, const kernels::emulated::DeviceOptions& options,
                     ErrorCode code) {
  expect_error(code, [&] {
    DeviceRun run(engine, {}, options, kernels::DeviceKind::kEmulated);
    Outcome outcome;
    decode(run.decoder, std::vector<TokenId>{1}, 0, outcome);
  });
}

TEST(DeviceModel, SaysThatMemoryIsShort) {
  const auto engine = open({.model = "qwen3moe"});
  const Bytes model = DeviceModel::plan(engine->model()).total();
  expect_error_of(*engine, {.memory = Bytes(model.count / 2)}, ErrorCode::kBudget);
  expect_error_of(*engine, {.memory = model}, ErrorCode::kBudget);
}

TEST(DeviceModel, EndsWithItsDevice) {
  const auto engine = open({.model = "qwen3moe"});
  for (const std::uint64_t last : {1u, 200u, 300u})
    expect_error_of(*engine, {.last_operation = last}, ErrorCode::kDevice);
}

}  // namespace
}  // namespace hearth::runtime
