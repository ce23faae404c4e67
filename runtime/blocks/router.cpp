#include "runtime/blocks/router.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace hearth::runtime {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

void normalize(std::span<float> weights) {
  float sum = 0;
  for (const float weight : weights) sum += weight;
  sum = std::max(sum, kernels::kLeastWeightSum);
  for (float& weight : weights) weight /= sum;
}

float sum_of_two_best(std::span<const float> scores) {
  float best = kLowest, second = kLowest;
  for (const float score : scores) {
    second = std::max(second, std::min(best, score));
    best = std::max(best, score);
  }
  return scores.size() == 1 ? best : best + second;
}

}  // namespace

void Router::choose(const kernels::CpuKernels& kernels, std::span<float> scores,
                    std::span<float> selection, std::span<std::uint16_t> ids,
                    std::span<float> weights) const {
  top_k(rank(kernels, scores, selection), ids);
  for (std::size_t i = 0; i < ids.size(); ++i) weights[i] = scores[ids[i]];
  if (spec_.gating == Gating::kSoftmaxOfChosen) kernels.softmax(weights.data(), spec_.used);
  if (spec_.gating == Gating::kSigmoidOfChosen) kernels.sigmoid(weights.data(), spec_.used);
  if (spec_.normalized) normalize(weights);
  if (spec_.weight_scale != 1) kernels.scale(spec_.weight_scale, spec_.used, weights.data());
}

std::span<const float> Router::rank(const kernels::CpuKernels& kernels, std::span<float> scores,
                                    std::span<float> selection) const {
  if (spec_.logit_scale != 1) kernels.scale(spec_.logit_scale, spec_.experts, scores.data());
  if (weights_.bias.present()) kernels.add(weights_.bias.data(), spec_.experts, scores.data());
  if (spec_.gating == Gating::kSoftmax) kernels.softmax(scores.data(), spec_.experts);
  if (spec_.gating == Gating::kSigmoid) kernels.sigmoid(scores.data(), spec_.experts);
  if (!selects_apart()) return scores;
  const std::span<float> own = selection.first(scores.size());
  std::ranges::copy(scores, own.begin());
  if (weights_.selection_bias.present())
    kernels.add(weights_.selection_bias.data(), spec_.experts, own.data());
  if (spec_.groups > 1) leave_best_groups(own);
  return own;
}

void Router::leave_best_groups(std::span<float> selection) const {
  const std::size_t size = selection.size() / spec_.groups;
  std::array<float, kMaxExpertGroups> scores;
  for (std::uint32_t g = 0; g < spec_.groups; ++g)
    scores[g] = sum_of_two_best(selection.subspan(g * size, size));
  std::array<std::uint16_t, kMaxExpertGroups> best;
  const auto kept = std::span(best).first(spec_.groups_used);
  top_k(std::span(scores).first(spec_.groups), kept);
  for (std::uint16_t g = 0; g < spec_.groups; ++g)
    if (std::ranges::find(kept, g) == kept.end())
      std::ranges::fill(selection.subspan(g * size, size), kLowest);
}

void top_k(std::span<const float> scores, std::span<std::uint16_t> chosen) {
  CHECK_LE(chosen.size(), scores.size());
  const auto value = [&](std::uint16_t index) {
    return std::isnan(scores[index]) ? kLowest : scores[index];
  };
  std::size_t count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto id = static_cast<std::uint16_t>(i);
    if (count == chosen.size() && !(value(id) > value(chosen[count - 1]))) continue;
    std::size_t place = count < chosen.size() ? count++ : count - 1;
    for (; place > 0 && value(id) > value(chosen[place - 1]); --place)
      chosen[place] = chosen[place - 1];
    chosen[place] = id;
  }
}

}  // namespace hearth::runtime
