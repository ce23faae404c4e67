// Which experts a router chooses, and with what weights, against the formulas in double.
#include "runtime/blocks/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace hearth::runtime {
namespace {

constexpr std::uint32_t kExperts = 24, kUsed = 5;

// A vector as the weight table would hold it.
class Floats {
 public:
  explicit Floats(std::vector<float> values) : values_(std::move(values)) {
    matrix_ = {kernels::WeightFormat::kF32, 1, static_cast<std::uint32_t>(values_.size()),
               reinterpret_cast<const std::byte*>(values_.data())};
  }
  WeightVector vector() const { return {&matrix_}; }
  double operator[](std::size_t i) const { return static_cast<double>(values_[i]); }

 private:
  std::vector<float> values_;
  kernels::WeightMatrix matrix_;
};

std::vector<float> random_floats(Random& random, double size) {
  std::vector<float> values(kExperts);
  for (float& value : values) value = static_cast<float>(size * random.normal());
  return values;
}

struct Choice {
  std::vector<std::uint16_t> ids;
  std::vector<float> weights;
};

Choice choose(const Router& router, std::vector<float> scores) {
  Choice choice{std::vector<std::uint16_t>(router.spec().used),
                std::vector<float>(router.spec().used)};
  std::vector<float> selection(router.selects_apart() ? kExperts : 0);
  router.choose(kernels::cpu_kernels(kernels::best_instruction_set()), scores, selection,
                choice.ids, choice.weights);
  return choice;
}

std::vector<std::uint16_t> best(const std::vector<double>& scores, std::size_t count) {
  std::vector<std::uint16_t> ids(scores.size());
  std::iota(ids.begin(), ids.end(), std::uint16_t{0});
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::uint16_t a, std::uint16_t b) { return scores[a] > scores[b]; });
  ids.resize(count);
  return ids;
}

std::vector<double> softmax(const std::vector<double>& x) {
  std::vector<double> result;
  for (const double value : x) result.push_back(std::exp(value));
  const double sum = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& value : result) value /= sum;
  return result;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// As the formulas have it: probabilities, the choice, weights.
struct Expected {
  std::vector<std::uint16_t> ids;
  std::vector<double> weights;
};
Expected expected(const RouterSpec& spec, const std::vector<float>& scores, const Floats& bias,
                  const Floats& selection_bias) {
  std::vector<double> logits(kExperts);
  for (std::size_t i = 0; i < kExperts; ++i)
    logits[i] = static_cast<double>(scores[i]) * static_cast<double>(spec.logit_scale) + bias[i];
  std::vector<double> probabilities = logits;
  if (spec.gating == Gating::kSoftmax) probabilities = softmax(logits);
  if (spec.gating == Gating::kSigmoid)
    std::transform(logits.begin(), logits.end(), probabilities.begin(), sigmoid);
  std::vector<double> selection = probabilities;
  for (std::size_t i = 0; i < kExperts; ++i) selection[i] += selection_bias[i];
  const std::size_t size = kExperts / spec.groups;
  std::vector<double> groups(spec.groups);
  for (std::size_t g = 0; g < spec.groups && size > 1; ++g) {
    std::vector<double> of_group(selection.begin() + g * size, selection.begin() + (g + 1) * size);
    std::sort(of_group.rbegin(), of_group.rend());
    groups[g] = of_group[0] + of_group[1];
  }
  const auto kept = best(groups, spec.groups_used);
  for (std::size_t i = 0; i < kExperts; ++i)
    if (std::find(kept.begin(), kept.end(), i / size) == kept.end()) selection[i] = -1e30;
  Expected result{best(selection, spec.used), {}};
  for (const std::uint16_t id : result.ids) result.weights.push_back(probabilities[id]);
  if (spec.gating == Gating::kSoftmaxOfChosen) result.weights = softmax(result.weights);
  if (spec.gating == Gating::kSigmoidOfChosen)
    for (double& weight : result.weights) weight = sigmoid(weight);
  const double sum = std::accumulate(result.weights.begin(), result.weights.end(), 0.0);
  for (double& weight : result.weights)
    weight = weight / (spec.normalized ? sum : 1) * static_cast<double>(spec.weight_scale);
  return result;
}

TEST(Router, FollowsTheFormulas) {
  Random random(7);
  for (const Gating gating :
       {Gating::kSoftmax, Gating::kSigmoid, Gating::kSoftmaxOfChosen, Gating::kSigmoidOfChosen}) {
    for (int i = 0; i < 200; ++i) {
      constexpr std::uint32_t kGroups[] = {1, 2, 4, 8};
      RouterSpec spec{.experts = kExperts,
                      .used = kUsed,
                      .gating = gating,
                      .normalized = random.below(2) == 0,
                      .weight_scale = random.below(2) == 0 ? 1.0f : 2.5f,
                      .logit_scale = random.below(2) == 0 ? 1.0f : 0.25f,
                      .groups = kGroups[random.below(4)]};
      spec.groups_used = spec.groups == 1 ? 1 : spec.groups == 8 ? 3 : spec.groups / 2 + 1;
      const std::vector<float> scores = random_floats(random, 2);
      const Floats bias(random_floats(random, 1)), selection_bias(random_floats(random, 0.3));
      const Router router(spec, {.bias = bias.vector(), .selection_bias = selection_bias.vector()});
      const Choice choice = choose(router, scores);
      const Expected exact = expected(spec, scores, bias, selection_bias);
      ASSERT_EQ(choice.ids, exact.ids);
      // Products, sums and an exponential of values below 20 in f32.
      for (std::size_t rank = 0; rank < kUsed; ++rank)
        EXPECT_NEAR(choice.weights[rank], exact.weights[rank], 1e-5 * (1 + exact.weights[rank]));
    }
  }
}

TEST(Router, ABiasOfTheChoiceLeavesTheWeights) {
  std::vector<float> scores(kExperts, -3.0f), preferred(kExperts, 0.0f);
  scores[3] = 1;
  preferred[9] = 100;
  const Floats bias(preferred);
  const Router router(
      {.experts = kExperts, .used = 2, .gating = Gating::kSigmoid, .normalized = false},
      {.selection_bias = bias.vector()});
  const Choice choice = choose(router, scores);
  EXPECT_EQ(choice.ids, (std::vector<std::uint16_t>{9, 3}));
  EXPECT_NEAR(choice.weights[0], sigmoid(-3), 1e-6);
  EXPECT_NEAR(choice.weights[1], sigmoid(1), 1e-6);
}

// A damaged file must not lead to an expert that is not there.
TEST(Router, ChoosesDistinctExpertsOfNans) {
  const Floats bias(std::vector<float>(kExperts, std::nanf("")));
  const Router router({.experts = kExperts, .used = kUsed, .groups = 4, .groups_used = 2},
                      {.selection_bias = bias.vector()});
  Choice choice = choose(router, std::vector<float>(kExperts, std::nanf("")));
  std::sort(choice.ids.begin(), choice.ids.end());
  EXPECT_EQ(std::unique(choice.ids.begin(), choice.ids.end()), choice.ids.end());
  EXPECT_LT(choice.ids.back(), kExperts);
}

}  // namespace
}  // namespace hearth::runtime
