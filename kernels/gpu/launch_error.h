// What a launch that the driver refuses ends in.
#pragma once

#include "kernels/gpu/launch_shape.h"

namespace hearth::kernels {

// Throws Error(kDevice): the reason and the shape of the launch.
[[noreturn]] void launch_failed(const char* reason, const LaunchShape& shape);

}  // namespace hearth::kernels
