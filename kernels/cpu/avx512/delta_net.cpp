#include "kernels/cpu/delta_net.h"

#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/fill.h"

namespace hearth::kernels {

void fill_delta_net_avx512(CpuKernels& table) { DeltaNetOps<F32x16>::fill(table); }

}  // namespace hearth::kernels
