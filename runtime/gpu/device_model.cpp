#include "runtime/gpu/device_model.h"

#include <utility>

namespace hearth::runtime {

DeviceModel::Plan DeviceModel::plan(const Model& model) {
  return {.dense = DeviceWeights::bytes_needed(model.weights),
          .experts = DeviceExperts::bytes_needed(model)};
}

DeviceModel::DeviceModel(Engine& engine, kernels::Device& device,
                         const kernels::GpuKernels& kernels)
    : model_(engine.model()),
      device_(device),
      kernels_(kernels),
      stream_(device.new_stream(kernels::StreamPriority::kNormal)),
      weights_(model_.weights, device),
      experts_(model_, device) {
  Uploader uploader(device, *stream_);
  weights_.fill(uploader);
  experts_.fill(engine.experts(), uploader);
  uploader.finish();
}

}  // namespace hearth::runtime
