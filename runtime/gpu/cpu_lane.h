// The CPU's part of the MoE layers of a step on a GPU: experts that are in RAM or on disk, computed
// where they lie and with the arithmetic of a model without a GPU (runtime/blocks/expert_ffn.h).
//
// The GPU hands a layer over in mapped memory (kernels/gpu/lane_block.h), a thread of the lane's
// (runtime/gpu/cpu_lane_thread.h) sees it and serves it. What cannot be served ends all waits of
// the GPU for the lane: the step runs to its end with results that nobody may use, and the
// conductor gets the error.
//
// Threads: begin_step(), rethrow() and time_served() by the conductor while no step is under way;
// serve() by one thread while one is; give_up() and handed_over() by any.
// Nothing allocates after construction but the text of an error.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "io/arena.h"
#include "kernels/gpu/lane_block.h"
#include "runtime/blocks/expert_ffn.h"
#include "runtime/gpu/expert_bytes.h"

namespace hearth::runtime {

class CpuLane {
 public:
  struct Shape {
    kernels::LaneShape block;
    std::uint32_t expert_ff = 0;  // of the widest layer
    std::uint32_t threads = 1;    // of the pool
  };
  static Bytes bytes_needed(const Shape& shape);

  struct Options {
    Shape shape;
    kernels::LaneBlock block;              // in mapped memory that outlives the lane
    std::vector<const ExpertFfn*> layers;  // [layers of the model]; null without experts
  };
  // Kernels, pool, experts and layers outlive the lane. While a step is under way the pool is the
  // lane's. Its memory is taken from `arena`: bytes_needed().
  CpuLane(const Options& options, const kernels::CpuKernels& kernels, kernels::WorkerPool& pool,
          ExpertBytes& experts, io::Arena& arena);

  // Before a step is launched.
  void begin_step();
  // One look at the doorbell; true where something was handed over, which is then served. Never
  // throws.
  bool serve();
  // After a step: throws what prevented the lane from serving.
  void rethrow() const;
  // Likewise: that it took to serve what was handed over, since the start.
  Nanoseconds time_served() const { return time_served_; }

  // Ends the GPU's waits for the lane, now and (called again) later.
  void give_up();
  // The layer that was handed over and is not served yet.
  std::optional<LayerIndex> handed_over() const;
  // Changes with each layer that is handed over, and with each that is done.
  std::uint64_t progress() const;

 private:
  void compute(std::uint32_t stamp);
  const ExpertFfn& take_over(std::uint32_t stamp);
  void compute_as_they_arrive(const ExpertFfn& ffn);

  const Options options_;
  const kernels::CpuKernels& kernels_;
  kernels::WorkerPool& pool_;
  ExpertBytes& experts_;
  kernels::ActivationBuffer hidden_;
  std::vector<kernels::ActivationBuffer> tiles_;
  std::vector<std::span<float>> tile_out_;
  // What was handed over, copied before it is checked.
  std::vector<kernels::LaneJob> jobs_;
  std::vector<std::uint16_t> ids_;  // of the jobs
  std::vector<std::uint32_t> x_rows_;
  std::vector<ExpertRows> ready_;
  std::exception_ptr error_;
  Nanoseconds time_served_{0};
};

}  // namespace hearth::runtime
