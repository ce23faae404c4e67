// ResidualScale on a device.
#include "base/check.h"
#include "runtime/blocks/residual_scale.h"
#include "runtime/gpu/device_step.h"

namespace hearth::runtime {

// With what the block before it gave.
void ResidualScale::record(DeviceStep& step) const {
  CHECK(step.pending.factor == nullptr);
  step.pending.factor = step.weights.of(factor_);
}

}  // namespace hearth::runtime
