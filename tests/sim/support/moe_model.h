// A few small layers of experts, and what the scalar kernels of the CPU make of a few rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/blocks/expert_ffn.h"
#include "runtime/blocks/router.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::sim {

// Of the norm without weights in front of each layer, which keeps deep models finite.
inline constexpr float kNormEpsilon = 1e-6f;

struct MoeShape {
  std::uint32_t layers = 2;
  std::uint32_t experts = 6;  // of a layer
  std::uint32_t used = 2;
  std::uint32_t rows = 2;
  std::uint32_t embedding = 64;
  std::uint32_t expert_ff = 32;

  std::uint32_t pairs() const { return rows * used; }
  std::uint32_t all_experts() const { return layers * experts; }
};

class MoeModel {
 public:
  explicit MoeModel(const MoeShape& shape);

  const MoeShape& shape() const { return shape_; }
  const kernels::WeightMatrix& router(std::uint32_t layer) const { return routers_[layer]->view(); }
  // Experts are numbered over all layers.
  runtime::ExpertWeights expert(std::uint32_t number) const;
  const runtime::ExpertFfn& ffn() const { return ffn_; }
  runtime::RouterSpec router_spec() const;

  // The residual stream behind the last layer [rows][embedding].
  std::vector<float> forward(std::vector<float> hidden) const;

 private:
  void run_layer(std::uint32_t layer, float* row) const;
  std::vector<float> expert_out(std::uint32_t number, const kernels::Activations& x) const;

  MoeShape shape_;
  runtime::ExpertFfn ffn_;
  std::vector<std::unique_ptr<kernels::GuardedMatrix>> routers_, gate_, up_, down_;
};

}  // namespace hearth::sim
