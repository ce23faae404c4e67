#include "kernels/gpu/matrix_product.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

using MatrixKernel = void (*)(ProductTask);

constexpr MatrixKernel kMatrixKernels[] = {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) multiply_matrix<WeightFormat::k##Name>,
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};

// How many blocks share the rows of a job. Launches are for the most that a job can have, and most
// have few: a block that finds none has cost its start, one that finds many takes them in turn.
constexpr unsigned kMostTilesOfJob = 2;

void launch_one(const ProductTask& task, NativeStream stream) {
  const bool dense = task.jobs == nullptr;
  const unsigned jobs = dense ? task.parts : task.job_count;
  const unsigned most_rows = dense ? task.x.rows / task.parts : task.most_rows;
  const unsigned tiles = (most_rows + kTileTokens - 1) / kTileTokens;
  if (task.rows == 0 || jobs == 0 || tiles == 0) return;
  launch(kMatrixKernels[static_cast<unsigned>(task.format)],
         {.blocks_x = dense || tiles < kMostTilesOfJob ? tiles : kMostTilesOfJob,
          .blocks_y = (task.rows + kTileRows - 1) / kTileRows,
          .blocks_z = jobs,
          .threads = kTileThreads},
         stream, task);
}

}  // namespace

// Of so many rows that a launch each is nothing.
void launch_matrix_product(const Products& products, NativeStream stream) {
  for (std::uint32_t i = 0; i < products.count; ++i) launch_one(products.tasks[i], stream);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
