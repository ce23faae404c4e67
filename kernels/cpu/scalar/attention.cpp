#include "kernels/cpu/kv/attention.h"

#include "kernels/cpu/fill.h"
#include "kernels/cpu/scalar/quads.h"

namespace hearth::kernels {

void fill_attention_scalar(CpuKernels& table) {
  fill_attention<scalar::F32x16, scalar::Quads>(table);
}

}  // namespace hearth::kernels
