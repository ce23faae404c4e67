// Host memory that a device sees, or an error that says what it was for.
#pragma once

#include <string_view>

#include "base/units.h"
#include "kernels/gpu/device.h"

namespace hearth::runtime {

// Throws Error(kBudget) where it cannot be pinned.
kernels::MappedMemory mapped_memory(kernels::Device& device, Bytes bytes, std::string_view what);

}  // namespace hearth::runtime
