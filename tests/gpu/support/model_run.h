// Tokens through a whole model, on the CPU and on a device, and all that can be seen of it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/gpu/device_decoder.h"
#include "runtime/session.h"

namespace hearth::runtime {

inline constexpr std::uint32_t kContext = 96;

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
  std::string model;  // the name of a golden one, or a path
  KvFormats formats = {};
  // Fed in pieces of so many tokens.
  std::vector<std::uint32_t> pieces = {3, 1, 1};
  std::uint32_t context = kContext;
  std::uint32_t random = 0;  // positions before the tokens, of keys and values that nobody computed
};
void PrintTo(const Case& c, std::ostream* out);
// Of a row of tests.
std::string name_of_case(const ::testing::TestParamInfo<Case>& row);
std::string name_of_model(const ::testing::TestParamInfo<const char*>& row);

// Golden models: of every architecture, in several formats of weights.
std::vector<Case> every_architecture(const std::vector<std::uint32_t>& pieces);

std::vector<TokenId> tokens_of(const Case& c, std::uint32_t vocabulary);
std::string path_of(const Case& c);
EngineOptions engine_options(const Case& c);  // with RAM for all experts, of which none is there
std::unique_ptr<Engine> open(const Case& c);

// A decision for each token, also one that no router makes.
ForcedRouting made_trace(const Engine& engine, std::uint32_t tokens);

Outcome run_on_cpu(const Case& c, Engine& engine, const ForcedRouting* forced = nullptr);
void decode(DeviceDecoder& decoder, std::span<const TokenId> tokens, std::uint32_t position,
            Outcome& outcome);
Outcome run_on_device(const Case& c, Engine& engine, DeviceDecoder& decoder);
void expect_same(const Outcome& expected, const Outcome& found, const std::string& where);

}  // namespace hearth::runtime
