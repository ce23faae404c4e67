// The formats with code books once more, for processors that gather faster than they load.
#include "kernels/cpu/fill.h"

namespace hearth::kernels {
namespace {
constexpr bool kGathersAll = true;
}  // namespace
}  // namespace hearth::kernels

#include "kernels/cpu/avx512/wide.h"
//
#include "kernels/cpu/avx512/four_rows.h"
#include "kernels/cpu/matmul/blocks.h"

namespace hearth::kernels {

void fill_gathers_avx512(CpuKernels& table) {
  fill_format<Wide, Floats, WeightFormat::kIQ1_S>(table, "avx512");
  fill_format<Wide, Floats, WeightFormat::kIQ2_XXS>(table, "avx512");
  fill_format<Wide, Floats, WeightFormat::kIQ2_XS>(table, "avx512");
  fill_format<Wide, Floats, WeightFormat::kIQ2_S>(table, "avx512");
  fill_format<Wide, Floats, WeightFormat::kIQ3_XXS>(table, "avx512");
  fill_format<Wide, Floats, WeightFormat::kIQ3_S>(table, "avx512");
}

}  // namespace hearth::kernels
