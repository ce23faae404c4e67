// The GPU of programs that are linked with emulated_backend.cpp.
#pragma once

#include "kernels/gpu/emulation/device.h"

namespace hearth::kernels {

// Of the devices that are opened from now on: small, so that what is measured on one takes no time.
emulated::DeviceOptions& emulated_backend_options();

}  // namespace hearth::kernels
