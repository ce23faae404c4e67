#include "kernels/cpu/avx2/lanes.h"

#include "kernels/cpu/fill.h"
#include "kernels/cpu/vector_ops.h"

namespace hearth::kernels {

void fill_vector_avx2(CpuKernels& table) { VectorOps<F32x16>::fill(table); }

}  // namespace hearth::kernels
