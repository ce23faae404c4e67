// How a router's logits become a choice of experts and their weights.
#pragma once

#include <cstdint>

namespace hearth::kernels {

// What becomes of the logits. Softmax and sigmoid of all experts come before the choice, those of
// the chosen after it; only the latter choose by the logits themselves.
enum class Gating : std::uint8_t { kSoftmax, kSigmoid, kSoftmaxOfChosen, kSigmoidOfChosen };

struct RouterSpec {
  std::uint32_t experts = 0;
  std::uint32_t used = 0;  // chosen for each token
  Gating gating = Gating::kSoftmax;
  bool normalized = true;  // the weights of a token are divided by their sum
  float weight_scale = 1;  // and then multiplied by this
  float logit_scale = 1;
  // Only experts of the best groups are chosen. A group is as good as its two best experts together
  // (DeepSeek-V3, arXiv 2412.19437).
  std::uint32_t groups = 1;  // divides experts; at most kMaxExpertGroups
  std::uint32_t groups_used = 1;
};
inline constexpr std::uint32_t kMaxExpertGroups = 64;

// The sum by which weights are divided is at least this, the smallest normal f16, as the models
// were trained.
inline constexpr float kLeastWeightSum = 0x1p-14f;

}  // namespace hearth::kernels
