#include "kernels/cpu_kernels.h"

#include "base/check.h"
#include "kernels/cpu/fill.h"

namespace hearth::kernels {
namespace {

// The scalar set first, then each better one over it.
CpuKernels assemble(InstructionSet set) {
  CpuKernels table{};
  fill_matmul_scalar(table);
  fill_vector_scalar(table);
  fill_attention_scalar(table);
  fill_delta_net_scalar(table);
#ifndef HEARTH_SCALAR_ONLY
  if (set >= InstructionSet::kAvx2) {
    fill_matmul_avx2(table);
    fill_vector_avx2(table);
    fill_attention_avx2(table);
    fill_delta_net_avx2(table);
  }
  if (set >= InstructionSet::kAvx512) {
    fill_matmul_avx512(table);
    if (gathers_are_fast()) fill_gathers_avx512(table);
    fill_vector_avx512(table);
    fill_attention_avx512(table);
    fill_delta_net_avx512(table);
  }
#endif
  table.name = name_of(set);
  return table;
}

template <InstructionSet kSet>
const CpuKernels& table_of() {
  static const CpuKernels table = assemble(kSet);
  return table;
}

}  // namespace

const CpuKernels& cpu_kernels(InstructionSet set) {
  CHECK(supported(set));  // also before filling: the code that fills is compiled for the set
  if (set == InstructionSet::kAvx512) return table_of<InstructionSet::kAvx512>();
  if (set == InstructionSet::kAvx2) return table_of<InstructionSet::kAvx2>();
  return table_of<InstructionSet::kScalar>();
}

}  // namespace hearth::kernels
