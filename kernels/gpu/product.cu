#include "kernels/gpu/product.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

using ProductKernel = void (*)(ProductTask);

struct ProductKernels {
  ProductKernel one_row, few_rows;
};

constexpr ProductKernels kProductKernels[] = {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) \
  {multiply<WeightFormat::k##Name, 1>, multiply<WeightFormat::k##Name, kMostProductRows>},
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};

// Matrices that have few rows, as routers and gates have, are spread over more blocks.
constexpr unsigned kFewestThreads = 64;
constexpr unsigned kEnoughBlocks = 256;

// For a matrix.
unsigned threads_for(const ProductTask& task, unsigned jobs) {
  if (task.matrices == 2) return kProductThreads;  // whole blocks of activations
  return task.rows / kRowsPerBlock * jobs < kEnoughBlocks ? kFewestThreads : kProductThreads;
}

}  // namespace

void launch_product(const ProductTask& task, NativeStream stream) {
  const bool dense = task.jobs == nullptr;
  const unsigned jobs = dense ? task.parts : task.job_count;
  const unsigned most_rows = dense ? task.x.rows / task.parts : task.most_rows;
  if (task.rows == 0 || jobs == 0 || most_rows == 0) return;
  const ProductKernels& kernels = kProductKernels[static_cast<unsigned>(task.format)];
  const unsigned threads = threads_for(task, jobs), rows = threads / kThreadsPerRow;
  launch(most_rows == 1 ? kernels.one_row : kernels.few_rows,
         {.blocks_x = (task.rows + rows - 1) / rows,
          .blocks_y = jobs,
          .threads = task.matrices * threads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
