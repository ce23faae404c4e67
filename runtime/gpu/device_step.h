// One pass over the layers on a device: what blocks enqueue, with what, into what. The twin of
// runtime/step.h; nothing here waits or looks at a result, so that a graph can capture all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "runtime/gpu/device_inputs.h"
#include "runtime/gpu/device_kv.h"
#include "runtime/gpu/device_lanes.h"
#include "runtime/gpu/device_outputs.h"
#include "runtime/gpu/device_recurrent.h"
#include "runtime/gpu/device_scratch.h"
#include "runtime/gpu/device_weights.h"
#include "runtime/gpu/expert_arena.h"
#include "runtime/gpu/lane_times.h"

namespace hearth::runtime {

class ChunkExperts;

struct DeviceProduct {
  const kernels::WeightMatrix* weights;  // null: there is none
  float* out;                            // [rows of x][stride], the first row's first value
  WeightVector bias = {};                // or none
};

// At most kernels::kMostProducts.
void add(const kernels::ProductTask& task, kernels::Products& to);

struct DeviceStep {
  std::uint32_t rows = 0;
  bool forced = false;  // inputs hold decisions that take the place of the routers'

  const kernels::GpuKernels& kernels;
  kernels::Stream& stream;
  const DeviceWeights& weights;
  const ExpertCatalog& catalog;
  const ExpertArena& experts;
  const DeviceLanes* lanes;        // null: all experts are on the device
  LaneTimes* times;                // null: nobody asks
  const DevicePrefetch* prefetch;  // of the lanes; null: this step guesses nothing
  HostCache* host_cache;           // of the lanes; null: kernels resolve
  ChunkExperts* chunk;  // of a prompt, with any number of rows; null: a step that is resolved
  const DeviceKv& kv;
  const DeviceRecurrent& recurrent;
  const DeviceScratch& scratch;
  const DeviceInputs& inputs;
  const DeviceOutputs& outputs;
  Bytes most_ahead;  // that a launch asks for

  // What a block gave and the residual stream has not got yet: it is added by the launch that makes
  // the norms of the next block.
  struct Pending {
    kernels::ExpertResults experts;  // whose sums are one of the parts
    kernels::BlockOutput parts[kernels::kMostBlockOutputs];
    const float* norm = nullptr;    // of the sum of the parts; or null
    const float* factor = nullptr;  // of the stream, after all; or null
  } pending = {};

  std::uint32_t guessed_layers = 0;  // so far

  template <typename Task>
  void launch(void (*kernels::GpuKernels::*operation)(const Task&, kernels::NativeStream),
              const std::type_identity_t<Task>& task) const {
    (kernels.*operation)(task, stream.native());
  }

  void mark(LayerIndex layer, LaneMoment moment) const {
    if (times != nullptr) times->mark(stream, layer, moment);
  }

  std::uint32_t embedding() const { return scratch.shape.embedding; }

  // Adds what is pending and makes norms of the residual stream, which are inputs of what follows.
  void enter(float epsilon, std::span<const kernels::NormedOutput> norms,
             const kernels::Ahead& ahead);
  // The same for one norm, that lies in scratch.normed.
  kernels::Activations enter(float epsilon, const WeightVector& norm, const kernels::Ahead& ahead);
  // Of rows [first, rows) alone, whose stream nobody reads any more.
  kernels::Activations leave(float epsilon, const WeightVector& norm, std::uint32_t first,
                             const kernels::Ahead& ahead);
  // What the next product reads of these matrices, where there are some, as far as it is worth
  // asking for: none for prompts, whose products read what they read many times.
  kernels::Ahead ahead(std::initializer_list<const kernels::WeightMatrix*> matrices) const;
  // A block gave scratch.block_out.
  void give_block_out(const WeightVector& norm = {});

  // By the operation for so many rows; of few rows, all in one launch.
  void multiply(const kernels::Products& products) const;
  // out[row] = weights · x[row] (+ bias) of each of them.
  void multiply(const kernels::Activations& x, std::initializer_list<DeviceProduct> products,
                std::uint64_t stride) const;
  // The task of one.
  kernels::ProductTask task_of(const kernels::Activations& x, const DeviceProduct& product,
                               std::uint64_t stride) const;
};

}  // namespace hearth::runtime
