#include "kernels/gpu/product.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

// Matrices that have few rows, as routers and gates have, are spread over more blocks.
constexpr unsigned kFewestThreads = 64;
constexpr unsigned kEnoughBlocks = 256;

unsigned jobs_of(const ProductTask& task) {
  return task.jobs == nullptr ? task.parts : task.job_count;
}
unsigned most_rows(const ProductTask& task) {
  return task.jobs == nullptr ? task.x.rows / task.parts : task.most_rows;
}

// Of a block. Hidden values are made in whole blocks of activations.
unsigned threads_for(const Products& products) {
  unsigned blocks = 0;
  for (std::uint32_t i = 0; i < products.count; ++i) {
    const ProductTask& task = products.tasks[i];
    if (task.matrices == kMostMatrices) return kMostMatrices * kProductThreads;
    blocks += task.rows / kRowsPerBlock * jobs_of(task);
  }
  return blocks < kEnoughBlocks ? kFewestThreads : kProductThreads;
}

}  // namespace

void launch_product(const Products& given, NativeStream stream) {
  Products products;
  unsigned most = 0;
  for (std::uint32_t i = 0; i < given.count; ++i) {
    const ProductTask& task = given.tasks[i];
    if (task.rows == 0 || jobs_of(task) == 0 || most_rows(task) == 0) continue;
    products.tasks[products.count++] = task;
    most = most_rows(task) > most ? most_rows(task) : most;
  }
  if (products.count == 0) return;
  const unsigned threads = threads_for(products);
  ProductBlocks blocks{};
  unsigned count = 0;
  for (std::uint32_t i = 0; i < products.count; ++i) {
    const ProductTask& task = products.tasks[i];
    const unsigned rows = threads / task.matrices / kThreadsPerRow;
    blocks.first[i] = count;
    blocks.of_job[i] = (task.rows + rows - 1) / rows;
    blocks.row_bytes[i] =
        task.columns / traits(task.format).values_per_block * traits(task.format).bytes_per_block;
    count += blocks.of_job[i] * jobs_of(task);
  }
  launch(most == 1 ? multiply<1> : multiply<kMostProductRows>,
         {.blocks_x = count, .threads = threads}, stream, products, blocks);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
