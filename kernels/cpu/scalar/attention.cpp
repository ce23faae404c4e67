#include "kernels/cpu/kv/attention.h"

#include "kernels/cpu/fill.h"
#include "kernels/cpu/scalar/quads.h"

namespace hearth::kernels {
namespace {

struct Integers {
  using Quads = kernels::scalar::Quads;
  using Sixteen = kernels::scalar::Sixteen;
};

}  // namespace

void fill_attention_scalar(CpuKernels& table) { fill_attention<scalar::F32x16, Integers>(table); }

}  // namespace hearth::kernels
