#include "kernels/cpu/delta_net.h"

#include "kernels/cpu/fill.h"
#include "kernels/cpu/scalar/lanes.h"

namespace hearth::kernels {

void fill_delta_net_scalar(CpuKernels& table) { DeltaNetOps<scalar::F32x16>::fill(table); }

}  // namespace hearth::kernels
