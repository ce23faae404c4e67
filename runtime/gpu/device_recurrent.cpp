#include "runtime/gpu/device_recurrent.h"

namespace hearth::runtime {

DeviceRecurrent::DeviceRecurrent(std::span<const RecurrentLayer> layers, DeviceArena& arena)
    : places_(RecurrentState::places(layers)),
      memory_(arena.take(RecurrentState::bytes_needed(layers))),
      size_(RecurrentState::bytes_needed(layers)) {}

void DeviceRecurrent::reset(kernels::Stream& stream) const {
  if (size_.count > 0) stream.fill(memory_, 0, size_);
}

}  // namespace hearth::runtime
