// How many threads a kernel is launched with, and on what. No vendor's header.
#pragma once

#include <cstdint>

namespace hearth::kernels {

struct LaunchShape {
  unsigned blocks_x = 1;
  unsigned blocks_y = 1;
  unsigned blocks_z = 1;
  unsigned threads = 0;         // of a block; a multiple of 64, so that warps are whole everywhere
  unsigned dynamic_shared = 0;  // bytes
};

// A LaunchQueue* of CUDA or HIP (launch_queue.h) or an emulated::Queue*: the library of kernels
// that is given one knows which.
using NativeStream = void*;

}  // namespace hearth::kernels
