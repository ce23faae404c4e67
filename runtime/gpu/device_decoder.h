// A session wholly on a device: steps of a few rows, each one launch of a graph that was captured
// once for their number. Its logits are those of the CPU, bit for bit.
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

class DeviceDecoder {
 public:
  struct Options {
    std::uint32_t context = kDefaultContext;
    KvFormats formats;
  };
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
  void reset();  // to an empty timeline

  // As Session::force_routing.
  void force_routing(const ForcedRouting* routing) { forced_routing_ = routing; }

  std::size_t graphs() const { return graphs_.size(); }

 private:
  struct StepShape {
    std::uint32_t rows = 0;
    std::uint32_t first_logits_row = 0;
    bool forced = false;
    auto operator<=>(const StepShape&) const = default;
  };
  const kernels::Graph& graph(const StepShape& shape);
  void record(const StepShape& shape) const;
  void check_counts() const;
  void give_routing(std::uint32_t rows, std::uint32_t position, RoutingSink on_routed) const;

  DeviceModel& model_;
  const DeviceNeeds needs_;
  const Plan plan_;
  DeviceArena kv_memory_, state_memory_, scratch_memory_;
  const DeviceKv kv_;
  const DeviceRecurrent recurrent_;
  const DeviceScratch scratch_;
  DeviceInputs inputs_;
  const DeviceOutputs outputs_;
  const ForcedRouting* forced_routing_ = nullptr;
  std::map<StepShape, std::unique_ptr<kernels::Graph>> graphs_;
};

}  // namespace hearth::runtime
