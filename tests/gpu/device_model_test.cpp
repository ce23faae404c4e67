// Whole models on a device: the logits and the decisions of the CPU, bit for bit, for every
// architecture, and memory to the byte of the plan.
#include <fmt/format.h>

#include <memory>

#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {
namespace {

using kernels::TestDevice;

struct Outcome {
  std::vector<float> logits;           // [tokens][vocabulary]
  std::vector<std::uint16_t> experts;  // of each step, layer by layer
  std::vector<float> weights;

  void add(const profiler::Routing& routing) {
    experts.insert(experts.end(), routing.experts.begin(), routing.experts.end());
    weights.insert(weights.end(), routing.weights.begin(), routing.weights.end());
  }
  void add(std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); }
};

struct Case {
  std::string model;
  KvFormats formats = {};
  // Fed in pieces of so many tokens.
  std::vector<std::uint32_t> pieces = {5, 1, 8, 1, 1};
};

std::vector<TokenId> tokens_of(const Case& c, std::uint32_t vocabulary) {
  std::uint32_t count = 0;
  for (const std::uint32_t piece : c.pieces) count += piece;
  std::vector<TokenId> tokens;
  for (std::uint32_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>((i * 37 + 3) % vocabulary));
  return tokens;
}

std::unique_ptr<Engine> open(const Case& c) {
  return std::make_unique<Engine>(
      EngineOptions{.model_path = HEARTH_SOURCE_DIR "/tests/golden/" + c.model + ".gguf",
                    .budget = {.expert_share = 1.0},
                    .threads = 1,
                    .key_format = c.formats.keys,
                    .value_format = c.formats.values,
                    .kv_tail = c.formats.tail,
                    .kv_rotation = c.formats.rotated});
}

Outcome run_on_cpu(const Case& c, Engine& engine) {
  Outcome run;
  Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) { run.add(routing); });
  const auto tokens = tokens_of(c, engine.config().vocabulary);
  std::size_t begin = 0;
  for (const std::uint32_t piece : c.pieces) {
    session.evaluate(std::span(tokens).subspan(begin, piece), 0,
                     [&](std::uint32_t, std::span<const float> logits) { run.add(logits); });
    begin += piece;
  }
  return run;
}

Outcome run_on_device(const Case& c, Engine& engine, DeviceDecoder& decoder) {
  Outcome run;
  const auto tokens = tokens_of(c, engine.config().vocabulary);
  std::uint32_t position = 0;
  for (const std::uint32_t piece : c.pieces) {
    decoder.decode(
        std::span(tokens).subspan(position, piece), position, 0,
        [&](std::uint32_t, std::span<const float> logits) { run.add(logits); },
        [&](const profiler::Routing& routing) { run.add(routing); });
    position += piece;
  }
  return run;
}

void expect_same(const Outcome& expected, const Outcome& found, const std::string& where) {
  EXPECT_EQ(expected.experts, found.experts) << where;
  kernels::expect_same_bits(expected.weights, found.weights, where + ": weights");
  kernels::expect_same_bits(expected.logits, found.logits, where + ": logits");
}

class DeviceModels : public testing::TestWithParam<Case> {};

TEST_P(DeviceModels, GiveTheBitsOfTheCpu) {
  const auto engine = open(GetParam());
  const Outcome expected = run_on_cpu(GetParam(), *engine);
  for (const TestDevice& on : kernels::test_devices()) {
    DeviceModel model(*engine, *on.device, *on.kernels);
    DeviceDecoder decoder(model, {.context = 64, .formats = engine->kv_formats()});
    expect_same(expected, run_on_device(GetParam(), *engine, decoder), on.name);
    decoder.reset();
    expect_same(expected, run_on_device(GetParam(), *engine, decoder), on.name + ", once more");
  }
}

std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.model;
  for (char& c : name)
    if (c == '-' || c == '.') c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Golden, DeviceModels,
                         testing::Values(Case{.model = "qwen3moe"}, Case{.model = "qwen3moe-f16"},
                                         Case{.model = "llama"}, Case{.model = "llama-opt"},
                                         Case{.model = "olmoe"}, Case{.model = "qwen2moe"},
                                         Case{.model = "gpt-oss"}, Case{.model = "ernie4_5-moe"},
                                         Case{.model = "deepseek2-lite"},
                                         Case{.model = "deepseek2-legacy"},
                                         Case{.model = "deepseek2-v3"}, Case{.model = "glm4moe"},
                                         Case{.model = "minimax-m2"}, Case{.model = "llama4"},
                                         Case{.model = "gemma4"}),
                         name_of_case);

}  // namespace
}  // namespace hearth::runtime
