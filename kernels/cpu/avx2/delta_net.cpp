#include "kernels/cpu/delta_net.h"

#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/fill.h"

namespace hearth::kernels {

void fill_delta_net_avx2(CpuKernels& table) { DeltaNetOps<F32x16>::fill(table); }

}  // namespace hearth::kernels
