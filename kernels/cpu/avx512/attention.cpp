#include "kernels/cpu/kv/attention.h"

#include "kernels/cpu/avx512/quads.h"
#include "kernels/cpu/fill.h"

namespace hearth::kernels {

void fill_attention_avx512(CpuKernels& table) { fill_attention<F32x16, Quads>(table); }

}  // namespace hearth::kernels
