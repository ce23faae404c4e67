#include "kernels/gpu/backend.h"

#include <vector>

#include "kernels/gpu/vendor/open.h"

namespace hearth::kernels {

std::span<const GpuBackend> gpu_backends() {
  static const std::vector<GpuBackend> backends = {
#ifdef HEARTH_CUDA
      {"CUDA", cuda::find_devices, cuda::open_device, cuda_kernels},
#endif
#ifdef HEARTH_HIP
      {"HIP", hip::find_devices, hip::open_device, hip_kernels},
#endif
  };
  return backends;
}

}  // namespace hearth::kernels
