// A layer on a GPU without its weights: what it costs beside reading them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "base/units.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"

namespace hearth::tools {

// The kernels of one token in a layer of the shape of Qwen3-30B-A3B (2048 wide, 32 heads of 128 and
// 4 of keys and values, 8 experts used), in the order of runtime/blocks and each waiting for the
// one before. Matrices have 64 rows, whose reading takes no time, and the context one position.
class GpuLayerWork {
 public:
  static constexpr Bytes kMemory = 8 * kMiB;

  GpuLayerWork(kernels::DeviceBuffer memory, const kernels::GpuKernels& kernels,
               kernels::Stream& stream);

  void enqueue();

 private:
  template <typename T>
  T* take(std::size_t count);
  kernels::QuantizeTask::Destination activations(std::uint32_t rows, std::uint32_t columns);
  void normalize(const kernels::ExpertResults& experts);
  void attend();
  void route();
  void feed_forward();
  void multiply(const kernels::Activations& x,
                std::initializer_list<float*> outputs);  // a matrix each
  void multiply_experts(kernels::ProductTask task, std::uint32_t job_matrix);

  const kernels::GpuKernels& kernels_;
  kernels::Stream& stream_;
  kernels::DeviceBuffer memory_;
  std::size_t taken_ = 0;
  std::byte* weights_ = nullptr;
  float *residual_ = nullptr, *added_ = nullptr, *norm_ = nullptr, *heads_ = nullptr,
        *out_ = nullptr;
  float *turns_ = nullptr, *states_ = nullptr, *rank_weights_ = nullptr;
  std::uint16_t* ids_ = nullptr;
  std::uint32_t* zeros_ = nullptr;  // the position, and the rows of x of all pairs
  kernels::QuantizeTask::Destination normed_, attended_, hidden_;
  kernels::KvMemory keys_, values_;
  kernels::ExpertJob* jobs_ = nullptr;
  const float** results_ = nullptr;
};

}  // namespace hearth::tools
