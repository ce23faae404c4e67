#include "tests/gpu/support/model_run.h"

#include <ostream>

#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {

void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }

std::vector<TokenId> tokens_of(const Case& c, std::uint32_t vocabulary) {
  std::uint32_t count = 0;
  for (const std::uint32_t piece : c.pieces) count += piece;
  std::vector<TokenId> tokens;
  for (std::uint32_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>((i * 37 + 3) % vocabulary));
  return tokens;
}

std::string path_of(const Case& c) {
  return HEARTH_SOURCE_DIR "/tests/golden/" + c.model + ".gguf";
}

EngineOptions engine_options(const Case& c) {
  return {.model_path = path_of(c),
          .budget = {.expert_share = 1.0},
          .context = kContext,
          .threads = 1,
          .key_format = c.formats.keys,
          .value_format = c.formats.values,
          .kv_tail = c.formats.tail,
          .kv_rotation = c.formats.rotated};
}

std::unique_ptr<Engine> open(const Case& c) { return std::make_unique<Engine>(engine_options(c)); }

Outcome run_on_cpu(const Case& c, Engine& engine, const ForcedRouting* forced) {
  Outcome run;
  Session session(engine);
  session.force_routing(forced);
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

void decode(DeviceDecoder& decoder, std::span<const TokenId> tokens, std::uint32_t position,
            Outcome& outcome) {
  decoder.decode(
      tokens, position, 0,
      [&](std::uint32_t, std::span<const float> logits) { outcome.add(logits); },
      [&](const profiler::Routing& routing) { outcome.add(routing); });
}

Outcome run_on_device(const Case& c, Engine& engine, DeviceDecoder& decoder) {
  Outcome outcome;
  const auto tokens = tokens_of(c, engine.config().vocabulary);
  std::uint32_t position = 0;
  for (const std::uint32_t piece : c.pieces) {
    decode(decoder, std::span(tokens).subspan(position, piece), position, outcome);
    position += piece;
  }
  return outcome;
}

void expect_same(const Outcome& expected, const Outcome& found, const std::string& where) {
  EXPECT_EQ(expected.experts, found.experts) << where;
  kernels::expect_same_bits(expected.weights, found.weights, where + ": weights");
  kernels::expect_same_bits(expected.logits, found.logits, where + ": logits");
}

}  // namespace hearth::runtime
