#include "kernels/cpu/kv/attention.h"

#include "kernels/cpu/avx2/quads.h"
#include "kernels/cpu/fill.h"

namespace hearth::kernels {
namespace {

struct Integers {
  using Quads = kernels::Quads;
  using Sixteen = kernels::Sixteen;
};

}  // namespace

void fill_attention_avx2(CpuKernels& table) { fill_attention<F32x16, Integers>(table); }

}  // namespace hearth::kernels
