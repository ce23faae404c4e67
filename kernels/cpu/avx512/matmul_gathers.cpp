// The formats with code books once more, for processors that gather faster than they load.
#include "kernels/cpu/avx512/four_rows.h"
#include "kernels/cpu/fill.h"
#include "kernels/cpu/matmul/blocks.h"

namespace hearth::kernels {
namespace {
constexpr bool Wide::gathers_all() { return true; }
}  // namespace

void fill_gathers_avx512(CpuKernels& table) {
#define WEIGHT_FORMAT(Name, text, values, bytes, id)                \
  if constexpr (takes_quantized_activations(WeightFormat::k##Name)) \
    if constexpr (Operand<WeightFormat::k##Name>::kHasGrid)         \
      fill_format<Wide, Floats, WeightFormat::k##Name>(table, "avx512");
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
}

}  // namespace hearth::kernels
