#include "kernels/cpu/fill.h"
#include "kernels/cpu/scalar/lanes.h"
#include "kernels/cpu/vector_ops.h"

namespace hearth::kernels {

void fill_vector_scalar(CpuKernels& table) { VectorOps<scalar::F32x16>::fill(table); }

}  // namespace hearth::kernels
