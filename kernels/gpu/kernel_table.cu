#include "kernels/gpu/kernel_table.h"

#include "kernels/gpu/port.h"

namespace hearth::kernels {
namespace HEARTH_GPU_TARGET {

#define GPU_OPERATION(name, Task) void launch_##name(const Task& task, NativeStream stream);
#include "kernels/gpu/operations.def"
#undef GPU_OPERATION

}  // namespace HEARTH_GPU_TARGET

#define HEARTH_TABLE_NAME_(target) target##_kernels
#define HEARTH_TABLE_NAME(target) HEARTH_TABLE_NAME_(target)
#define HEARTH_TEXT_(text) #text
#define HEARTH_TEXT(text) HEARTH_TEXT_(text)

const GpuKernels& HEARTH_TABLE_NAME(HEARTH_GPU_TARGET)() {
  static constexpr GpuKernels table = {
      .name = HEARTH_TEXT(HEARTH_GPU_TARGET),
#define GPU_OPERATION(name, Task) .name = HEARTH_GPU_TARGET::launch_##name,
#include "kernels/gpu/operations.def"
#undef GPU_OPERATION
  };
  return table;
}

}  // namespace hearth::kernels
