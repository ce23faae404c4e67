// Products with AVX-512 and VNNI.
#include "kernels/cpu/avx512/four_rows.h"
#include "kernels/cpu/fill.h"
#include "kernels/cpu/matmul/blocks.h"
#include "kernels/cpu/matmul/floats.h"

namespace hearth::kernels {
namespace {
constexpr bool Wide::gathers_all() { return false; }
}  // namespace

void fill_matmul_avx512(CpuKernels& table) {
  fill_blocks<Wide, Floats>(table, "avx512");
  fill_floats<Floats>(table, "avx512");
}

}  // namespace hearth::kernels
