#include "tests/gpu/support/model_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <utility>

#include "base/random.h"
#include "runtime/trace_header.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {
namespace {

constexpr std::uint64_t kRandomSeed = 5;  // of what nobody computed

std::string as_name(std::string text) {
  for (char& c : text)
    if (c == '-' || c == '.') c = '_';
  return text;
}

}  // namespace

void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }

std::string name_of_case(const ::testing::TestParamInfo<Case>& row) {
  const KvFormats& kv = row.param.formats;
  if (!kv.quantized()) return as_name(row.param.model);
  return as_name(fmt::format("{}_{}_{}", row.param.model, kernels::traits(kv.keys).name,
                             kernels::traits(kv.values).name));
}

std::string name_of_model(const ::testing::TestParamInfo<const char*>& row) {
  return as_name(row.param);
}

std::vector<Case> every_architecture(const std::vector<std::uint32_t>& pieces) {
  std::vector<Case> cases;
  for (const char* model : {"qwen3moe",         "qwen3moe-f16",
                            "qwen3moe-kquants", "qwen3moe-iquants",
                            "qwen3moe-types32", "llama",
                            "llama-opt",        "olmoe",
                            "qwen2moe",         "gpt-oss",
                            "gpt-oss-f16",      "ernie4_5-moe",
                            "deepseek2-lite",   "deepseek2-legacy",
                            "deepseek2-v3",     "deepseek2-v3-f16",
                            "glm4moe",          "minimax-m2",
                            "llama4",           "gemma4",
                            "gemma4-f16",       "qwen35moe",
                            "qwen35moe-f16",    "qwen3next",
                            "qwen3next-legacy"})
    cases.push_back({.model = model, .pieces = pieces});
  return cases;
}

std::vector<TokenId> tokens_of(const Case& c, std::uint32_t vocabulary) {
  std::uint32_t count = 0;
  for (const std::uint32_t piece : c.pieces) count += piece;
  std::vector<TokenId> tokens;
  for (std::uint32_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>((i * 37 + 3) % vocabulary));
  return tokens;
}

std::string path_of(const Case& c) {
  if (c.model.find('/') != std::string::npos) return c.model;
  return HEARTH_SOURCE_DIR "/tests/golden/" + c.model + ".gguf";
}

EngineOptions engine_options(const Case& c) {
  return {.model_path = path_of(c),
          .budget = {.expert_share = 1.0},
          .context = c.context,
          .threads = 1,
          .key_format = c.formats.keys,
          .value_format = c.formats.values,
          .kv_tail = c.formats.tail,
          .kv_rotation = c.formats.rotated};
}

std::unique_ptr<Engine> open(const Case& c) { return std::make_unique<Engine>(engine_options(c)); }

ForcedRouting made_trace(const Engine& engine, std::uint32_t tokens) {
  const ModelConfig& config = engine.config();
  profiler::TraceHeader header = trace_header_of(
      engine.model(), {.layers = config.layers, .experts_per_layer = config.experts}, "made");
  header.has_weights = true;
  profiler::RoutingTrace trace(header);
  Random random(3);
  trace.begin_step({.position = 0, .rows = tokens});
  for (const profiler::TraceLayer& layer : header.layers) {
    std::vector<std::uint16_t> experts(tokens * config.experts_used);
    std::vector<float> weights(experts.size());
    for (std::uint16_t& one : experts)
      one = static_cast<std::uint16_t>(random.below(layer.experts));
    for (float& weight : weights) weight = static_cast<float>(random.uniform());
    std::ranges::fill(std::span(experts).first(config.experts_used), experts.front());
    trace.add({.layer = layer.layer,
               .rows = tokens,
               .experts_per_row = config.experts_used,
               .experts = experts,
               .weights = weights});
  }
  return {std::move(trace), engine.model(), "made"};
}

Outcome run_on_cpu(const Case& c, Engine& engine, const ForcedRouting* forced) {
  Outcome run;
  Session session(engine);
  session.force_routing(forced);
  session.on_routed([&](const profiler::Routing& routing) { run.add(routing); });
  if (c.random > 0) session.fill_at_random(c.random, kRandomSeed);
  const auto tokens = tokens_of(c, engine.config().vocabulary);
  std::size_t begin = 0;
  for (const std::uint32_t piece : c.pieces) {
    session.evaluate(std::span(tokens).subspan(begin, piece), 0,
                     [&](std::uint32_t, std::span<const float> logits) { run.add(logits); });
    begin += piece;
  }
  return run;
}

void decode(DeviceDecoder& decoder, std::span<const TokenId> tokens, std::uint32_t position,
            Outcome& outcome) {
  decoder.decode(
      tokens, position, 0,
      [&](std::uint32_t, std::span<const float> logits) { outcome.add(logits); },
      [&](const profiler::Routing& routing) { outcome.add(routing); });
}

Outcome run_on_device(const Case& c, Engine& engine, DeviceDecoder& decoder) {
  Outcome outcome;
  if (c.random > 0) decoder.fill_at_random(c.random, kRandomSeed);
  const auto tokens = tokens_of(c, engine.config().vocabulary);
  std::uint32_t begin = 0;
  for (const std::uint32_t piece : c.pieces) {
    decode(decoder, std::span(tokens).subspan(begin, piece), c.random + begin, outcome);
    begin += piece;
  }
  return outcome;
}

void expect_same(const Outcome& expected, const Outcome& found, const std::string& where) {
  EXPECT_EQ(expected.experts, found.experts) << where;
  kernels::expect_same_bits(expected.weights, found.weights, where + ": weights");
  kernels::expect_same_bits(expected.logits, found.logits, where + ": logits");
}

}  // namespace hearth::runtime
