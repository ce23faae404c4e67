// DeltaNetBlock on a device.
#include "base/error.h"
#include "runtime/blocks/delta_net.h"
#include "runtime/gpu/device_needs.h"

namespace hearth::runtime {

void DeltaNetBlock::device_needs(DeviceNeeds&) const {
  throw_error(ErrorCode::kUnsupported,
              "layer {}: gated delta nets are not computed on GPUs; run without one", layer_);
}

void DeltaNetBlock::record(DeviceStep&) const {}

}  // namespace hearth::runtime
