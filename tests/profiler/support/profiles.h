// Small models, tokens that route through them, and the profiles that come of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "profiler/expert_profile.h"

namespace hearth::profiler::testing {

// Block 1 has no experts, and the last one has fewer than the others.
inline constexpr std::uint32_t kTestExperts = 8;
inline constexpr std::uint32_t kTestTopK = 2;
inline const std::vector<std::uint32_t> kTestLayers = {8, 0, 8, 6};

inline ModelIdentity test_model() {
  return {.architecture = "qwen3moe",
          .name = "Tiny",
          .formats = "Q4_K 83 %, Q6_K 17 %",
          .layers = 4,
          .experts_per_layer = kTestExperts,
          .experts_used = kTestTopK,
          .metadata = 0x0123456789abcdef,
          .tensors = 0xfedcba9876543210,
          .types = 1,
          .samples = 2};
}

inline ExpertProfile empty_test_profile() { return empty_profile(test_model(), kTestLayers); }

// A step of the model above: what each of its rows chose in each layer with experts.
struct TestStep {
  std::uint32_t position = 0;
  std::vector<std::vector<std::vector<std::uint16_t>>> chosen;  // [layer with experts][row][rank]
};

inline void observe(ProfileRecorder& recorder, const TestStep& step) {
  constexpr LayerIndex kBlocks[] = {0, 2, 3};
  for (std::size_t nth = 0; nth < step.chosen.size(); ++nth) {
    std::vector<std::uint16_t> experts;
    for (const auto& row : step.chosen[nth]) experts.insert(experts.end(), row.begin(), row.end());
    recorder.observe({.layer = kBlocks[nth],
                      .rows = static_cast<std::uint32_t>(step.chosen[nth].size()),
                      .experts_per_row = kTestTopK,
                      .experts = experts,
                      .position = step.position});
  }
}

// A token that chooses the same two experts in every layer.
inline TestStep token(std::uint32_t position, std::uint16_t first, std::uint16_t second) {
  return {position, {3, {{first, second}}}};
}

// Two distinct experts of `experts`, the lower ones more often the larger `skew`.
inline std::vector<std::uint16_t> choose_two(Random& random, std::uint32_t experts, double skew) {
  const auto one = [&] {
    return static_cast<std::uint16_t>(std::pow(random.uniform(), skew) * experts);
  };
  const std::uint16_t first = one();
  std::uint16_t second = one();
  while (second == first) second = one();
  return {first, second};
}

inline TestStep random_step(Random& random, std::uint32_t position, std::size_t rows, double skew) {
  TestStep step{position, {}};
  for (const std::uint32_t experts : {8u, 8u, 6u}) {
    auto& layer = step.chosen.emplace_back();
    for (std::size_t row = 0; row < rows; ++row) layer.push_back(choose_two(random, experts, skew));
  }
  return step;
}

// What is recorded of a prompt and the tokens generated after it.
inline ExpertProfile random_profile(std::uint64_t seed, const std::string& workload = "chat",
                                    std::uint32_t tokens = 200, double skew = 2) {
  Random random(seed);
  ProfileRecorder recorder(empty_test_profile(), workload);
  const std::uint32_t prompt = std::max(tokens / 4, 2u);
  observe(recorder, random_step(random, 0, prompt, skew));
  for (std::uint32_t i = prompt; i < tokens; ++i)
    observe(recorder, random_step(random, i, 1, skew));
  return recorder.profile();
}

}  // namespace hearth::profiler::testing
