// Multiplies the residual stream by one number of the layer.
#pragma once

#include "runtime/blocks/block.h"
#include "runtime/blocks/linear.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

class ResidualScale final : public Block {
 public:
  explicit ResidualScale(WeightVector factor) : factor_(factor) {}  // [1]

  void state_needs(ScratchShape&, KvLayer&) const override {}
  void record(DeviceStep& step) const override;
  void run(Step& step) const override {
    for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
      step.kernels.scale(*factor_.data(), step.scratch.shape.embedding, step.hidden(row));
    });
  }

 private:
  WeightVector factor_;
};

}  // namespace hearth::runtime
