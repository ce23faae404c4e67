// A session wholly on a device: steps of a few rows, each one launch of a graph that was captured
// once for their number, unless the host decides about experts in their middle (host_cache.h). Its
// logits are those of the CPU, bit for bit. Long chunks of prompts are device_prefill.h's, in the
// memory that is here.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "base/function_ref.h"
#include "base/ids.h"
#include "profiler/routing.h"
#include "runtime/decode_step.h"
#include "runtime/gpu/device_model.h"
#include "runtime/gpu/device_step.h"

namespace hearth::runtime {

// Of all blocks, and of experts.
DeviceNeeds device_needs(const Model& model);

class DeviceDecoder {
 public:
  struct Options {
    std::uint32_t context = kDefaultContext;
    KvFormats formats;
    // Keys and values have memory for so many at first, and for more when they are needed; 0: for
    // the whole context.
    std::uint32_t positions = 0;
    std::uint32_t batch = kMostDeviceRows;  // tokens of a prompt that pass at once
  };
  static Options options(const Engine& engine);  // of its plan
  // Bytes of the device, as they are taken.
  struct Plan {
    Bytes kv;
    Bytes state;
    Bytes scratch;
    Bytes inputs;
    Bytes pinned;  // of the host, for what a step gets and gives
    Bytes total() const { return kv + state + scratch + inputs; }
  };
  // Throws what KvCache::needs throws.
  static Plan plan(const Model& model, const Options& options);

  // The model outlives it. Throws Error(kBudget) where the device has not the memory of the plan.
  DeviceDecoder(DeviceModel& model, const Options& options);

  using RoutingSink = FunctionRef<void(const profiler::Routing&)>;

  // A step of 1 to kMostDeviceRows tokens at `position`, which fit the context and the vocabulary;
  // every decision and the logits of rows [first_logits_row, rows) go to the sinks. Throws
  // Error(kNumerics) for logits that are not finite, and Error(kDevice).
  void decode(std::span<const TokenId> tokens, std::uint32_t position,
              std::uint32_t first_logits_row, LogitsSink sink, RoutingSink on_routed);
  void reset();  // to an empty timeline, and its memory

  // Captures the steps that are most usual, so that what they take of the device is taken.
  void prepare();
  // Memory for keys and values of so many positions, where those before `kept` stay; experts may
  // give up slots for it. Before fill_at_random() and visit_state() of more than there were. Throws
  // Error(kBudget).
  void provide(std::uint32_t positions, std::uint32_t kept);
  std::uint32_t positions() const { return kv_.positions(); }  // there is memory for
  // As StepRunner.
  void fill_at_random(std::uint32_t positions, std::uint64_t seed);
  // What the tokens before `position` left, in the order of a session file; addresses of the
  // device.
  void visit_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const;
  kernels::Device& device() const { return model_.device(); }
  kernels::Stream& stream() const { return model_.stream(); }

  // As Session::force_routing.
  void force_routing(const ForcedRouting* routing) { forced_routing_ = routing; }

  std::size_t graphs() const { return graphs_.size(); }

  // For DevicePrefill, whose chunks are passes over the same layers in the same memory, with inputs
  // of their own.
  DeviceStep new_step(std::uint32_t rows, const DeviceInputs& inputs, ChunkExperts* chunk) const;
  void record_layers(DeviceStep& step) const;  // up to the residual stream and what is pending
  // Of at most DeviceOutputs::kMostLogitRows rows whose norms these are, to the outputs.
  void record_logits(const DeviceStep& step, const kernels::Activations& normed) const;
  void begin_outputs() const;  // before each pass
  // What a pass has left; all is done that was enqueued.
  void give_routing(std::uint32_t rows, std::uint32_t position, RoutingSink on_routed) const;
  void give_logits(std::uint32_t first_row, std::uint32_t rows, std::uint32_t position,
                   LogitsSink sink) const;
  const ForcedRouting* forced_routing() const { return forced_routing_; }
  DeviceModel& model() const { return model_; }
  const DeviceNeeds& needs() const { return needs_; }
  std::uint32_t context() const { return kv_.context(); }

 private:
  struct StepShape {
    std::uint32_t rows = 0;
    std::uint32_t first_logits_row = 0;
    bool forced = false;
    bool timed = false;
    bool prefetch = false;
    auto operator<=>(const StepShape&) const = default;
  };
  struct RecordedStep {
    std::unique_ptr<kernels::Graph> graph;  // null: it is enqueued anew each time
    std::uint64_t last_use = 0;
    bool ran = false;
  };
  RecordedStep& recorded(const StepShape& shape);
  void capture(const StepShape& shape, RecordedStep& step);
  void enqueue(const StepShape& shape, const RecordedStep& step) const;
  void keep_within_budget(const StepShape& shape);
  void forget_graphs(const StepShape* but);
  std::uint32_t positions_for(std::uint32_t needed) const;
  std::uint32_t least_positions(std::uint32_t needed) const;
  void resize(std::uint32_t positions, std::uint32_t kept);
  void record(const StepShape& shape) const;
  void check_counts() const;

  DeviceModel& model_;
  const DeviceNeeds needs_;
  const Plan plan_;
  const std::uint32_t first_positions_;
  DeviceArena state_memory_, scratch_memory_;
  DeviceKv kv_;
  const DeviceRecurrent recurrent_;
  const DeviceScratch scratch_;
  DeviceInputs inputs_;
  const DeviceOutputs outputs_;
  const ForcedRouting* forced_routing_ = nullptr;
  std::map<StepShape, RecordedStep> graphs_;
  std::uint64_t uses_ = 0;  // of graphs
};

}  // namespace hearth::runtime
