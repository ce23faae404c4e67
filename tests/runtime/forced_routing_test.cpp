// Experts of a trace take the place of the routers' choices, token by token.
#include "runtime/forced_routing.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "runtime/trace_header.h"

namespace hearth::testing {
namespace {

using profiler::Routing;
using profiler::RoutingTrace;
using runtime::Engine;
using runtime::ForcedRouting;
using runtime::Session;

constexpr std::uint32_t kRows = 40;
constexpr TokenId kTokens[] = {10, 131, 47, 2, 20, 30, 59, 126, 75, 84, 28, 46, 9, 8, 7, 6};

Engine open() {
  return Engine({.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                 .budget = {.expert_share = 0.4},
                 .context = 64,
                 .threads = 1,
                 .prefetch = false});
}

// Of one layer, [row][rank].
struct Choices {
  std::vector<std::uint16_t> experts;
  std::vector<float> weights;
};

RoutingTrace made_trace(const profiler::TraceHeader& header, std::vector<std::uint32_t> steps,
                        std::vector<Choices>& choices) {
  Random random(3);
  RoutingTrace trace(header);
  choices.assign(header.layers.size(), {});
  std::uint32_t position = 0;
  for (const std::uint32_t rows : steps) {
    trace.begin_step({.position = position, .rows = rows});
    position += rows;
    for (std::size_t nth = 0; nth < header.layers.size(); ++nth) {
      Choices step;
      for (std::uint32_t i = 0; i < rows * header.experts_per_row; ++i) {
        step.experts.push_back(
            static_cast<std::uint16_t>(random.below(header.layers[nth].experts)));
        step.weights.push_back(header.has_weights
                                   ? static_cast<float>(random.uniform())
                                   : 1.0f / static_cast<float>(header.experts_per_row));
      }
      trace.add({.layer = header.layers[nth].layer,
                 .rows = rows,
                 .experts_per_row = header.experts_per_row,
                 .experts = step.experts,
                 .weights = step.weights,
                 .position = trace.step(trace.steps() - 1).position});
      choices[nth].experts.insert(choices[nth].experts.end(), step.experts.begin(),
                                  step.experts.end());
      choices[nth].weights.insert(choices[nth].weights.end(), step.weights.begin(),
                                  step.weights.end());
    }
  }
  return trace;
}

TEST(ForcedRouting, GivesEveryTokenItsRowWhateverTheSteps) {
  Engine engine = open();
  for (const bool has_weights : {true, false}) {
    profiler::TraceHeader header = trace_header_of(
        engine.model(),
        {.layers = engine.config().layers, .experts_per_layer = engine.config().experts}, "made");
    header.has_weights = has_weights;
    std::vector<Choices> expected;
    ForcedRouting forced(made_trace(header, {7, 1, 1, 20, 1, 10}, expected), engine.model(),
                         "trace");
    ASSERT_EQ(forced.rows(), kRows);
    Session session(engine);
    session.force_routing(&forced);
    std::vector<Choices> seen(header.layers.size());
    session.on_routed([&](const Routing& routing) {
      Choices& layer = seen[routing.layer];
      layer.experts.insert(layer.experts.end(), routing.experts.begin(), routing.experts.end());
      layer.weights.insert(layer.weights.end(), routing.weights.begin(), routing.weights.end());
    });
    constexpr std::size_t kFirst = 11;
    forced.begin_at(kFirst);
    for (const std::size_t piece : {5u, 1u, 1u, 9u})
      session.evaluate(std::span(kTokens).subspan(session.position(), piece));
    const std::size_t used = header.experts_per_row, begin = kFirst * used,
                      count = std::size(kTokens) * used;
    for (std::size_t layer = 0; layer < seen.size(); ++layer) {
      const auto& all = expected[layer];
      EXPECT_EQ(seen[layer].experts,
                std::vector(all.experts.begin() + begin, all.experts.begin() + begin + count));
      EXPECT_EQ(seen[layer].weights,
                std::vector(all.weights.begin() + begin, all.weights.begin() + begin + count));
    }
  }
}

// What the routers chose, forced upon them, is what they would have chosen.
TEST(ForcedRouting, OfTheOwnTraceChangesNothing) {
  Engine engine = open();
  Session session(engine);
  const auto header = trace_header_of(
      engine.model(),
      {.layers = engine.config().layers, .experts_per_layer = engine.config().experts}, "own");
  RoutingTrace trace(header);
  session.on_routed([&](const Routing& routing) {
    if (routing.layer == header.layers.front().layer)
      trace.begin_step({.position = routing.position, .rows = routing.rows});
    trace.add(routing);
  });
  const auto hash_of = [](std::span<const float> logits) {
    runtime::LogitsHash hash;
    hash.add(logits);
    return hash.value();
  };
  const std::uint64_t expected = hash_of(session.evaluate(kTokens));
  const ForcedRouting forced(std::move(trace), engine.model(), "trace");
  Session other(engine);
  other.force_routing(&forced);
  EXPECT_EQ(hash_of(other.evaluate(kTokens)), expected);
}

TEST(ForcedRouting, RefusesATraceOfAnotherShape) {
  Engine engine = open();
  const auto refused = [&](auto&& change) {
    profiler::TraceHeader header = trace_header_of(
        engine.model(),
        {.layers = engine.config().layers, .experts_per_layer = engine.config().experts}, "made");
    change(header);
    try {
      ForcedRouting(RoutingTrace(header), engine.model(), "NAME");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadInput);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused([](auto& header) { header.experts_per_row -= 1; }).substr(0, 30),
            "NAME: has 3 experts for a toke");
  EXPECT_EQ(refused([](auto& header) { header.model.layers += 1; }).substr(0, 30),
            "NAME: is of a model of 4 layer");
  EXPECT_EQ(refused([](auto& header) { header.layers.pop_back(); }).substr(0, 30),
            "NAME: layer 2 has 0 experts, i");
  EXPECT_EQ(refused([](auto& header) { header.layers[1].experts -= 1; }).substr(0, 31),
            "NAME: layer 1 has 15 experts, i");
}

}  // namespace
}  // namespace hearth::testing
