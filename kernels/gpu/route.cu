#include "kernels/gpu/route.h"

#include "kernels/gpu/port.h"
#include "kernels/gpu/route.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kRouteThreads = 256;

// Block (row).
HEARTH_KERNEL(kRouteThreads) route_rows(RouteTask task) {
  wait_for_previous();
  HEARTH_SHARED(RouteShared, shared);
  route_row(task, shared);
}

void launch_route(const RouteTask& task, NativeStream stream) {
  if (task.rows == 0 || task.spec.used == 0) return;
  const unsigned wanted = (task.spec.experts + 63) / 64 * 64;
  launch(route_rows,
         {.blocks_x = task.rows, .threads = wanted < kRouteThreads ? wanted : kRouteThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
