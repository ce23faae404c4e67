// Which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu_kernels.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

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

struct RouterWeights {
  const kernels::WeightMatrix* matrix = nullptr;  // [experts][embedding]
  WeightVector bias;                              // of the logits; optional
  WeightVector selection_bias;                    // added for the choice alone; optional
};

class Router {
 public:
  Router(const RouterSpec& spec, const RouterWeights& weights) : spec_(spec), weights_(weights) {}

  const RouterSpec& spec() const { return spec_; }
  const kernels::WeightMatrix* matrix() const { return weights_.matrix; }
  // Whether what is chosen by is not what weights are made of: `selection` then has room for
  // [experts] at least, else it is not used.
  bool selects_apart() const { return weights_.selection_bias.present() || spec_.groups > 1; }

  // From the products of one token with the matrix [experts], which are overwritten: the ids and
  // weights [used] of its experts, best first.
  void choose(const kernels::CpuKernels& kernels, std::span<float> scores,
              std::span<float> selection, std::span<std::uint16_t> ids,
              std::span<float> weights) const;
  // The numbers by which experts are chosen: in `scores` or in `selection`.
  std::span<const float> rank(const kernels::CpuKernels& kernels, std::span<float> scores,
                              std::span<float> selection) const;

 private:
  void leave_best_groups(std::span<float> selection) const;

  RouterSpec spec_;
  RouterWeights weights_;
};

// The `chosen.size()` largest scores in descending order, the smaller index among equals. NaN
// scores are never above another, so every chosen id is valid and distinct whatever the scores are.
// chosen.size() <= scores.size().
void top_k(std::span<const float> scores, std::span<std::uint16_t> chosen);

}  // namespace hearth::runtime
