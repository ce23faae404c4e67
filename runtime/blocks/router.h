// Which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu_kernels.h"
#include "kernels/router_spec.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

using kernels::Gating;
using kernels::kMaxExpertGroups;
using kernels::RouterSpec;

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
