// The experts of a device given and taken by the host, layer by layer (--gpu-cache host), where
// kernels do it within a graph otherwise: for finding out whose fault a wrong answer, a wrong count
// or a hang is.
//
//   main   route ─┐ idle                  ┌─ lists ─ hand over ─┬─ hits ── wait ─ fetched …
//   host          └─ resolve_scalar(), ───┘                     │
//   link             on tables of its own                       └─ copies ─┘
//
// The decisions are those of the kernels (kernels/gpu/resolve.h), and so are counters, slots and
// logits. What is different: the tables are the host's (ExpertArena::keep_tables_on_host), each
// layer waits for it, and experts come by the copy engine. The rest of a layer is the code that
// graphs are captured from.
//
// Ordering. The lists are written when the stream has come to the router of a layer, and so is past
// the copies of the lists of all layers before; the device writes none of it. resolve_scalar()
// allocates.
//
// Used by the conductor while a step is under way.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/resolve.h"
#include "runtime/gpu/cpu_lane_thread.h"

namespace hearth::runtime {

class HostCache {
 public:
  static Bytes bytes_needed(std::uint32_t pairs);  // of the host, seen by the device
  // For layers of at most so many pairs (row, rank). All else outlives it. Throws Error(kBudget).
  HostCache(kernels::Device& device, std::uint32_t pairs, CpuLane& lane, const Clock& clock,
            const StepBound& bound = kStepBound);

  // Resolves a layer whose router was enqueued: waits for its choice, which with the tables, the
  // limits and the number of the step is in memory of the host, and enqueues the lists to where a
  // kernel would have written them. Throws Error(kDevice), which names the layer, for a stream that
  // does not get there within the bound.
  void resolve(const kernels::ResolveTask& task, kernels::Stream& stream);
  // Enqueues the copies of what the layer fetches that was resolved last.
  void fetch(kernels::Stream& link) const;

  std::uint64_t waits() const { return waits_; }  // of the host, since the start

 private:
  void wait_for_router(std::uint32_t layer, kernels::Stream& stream);

  CpuLane& lane_;
  const Clock& clock_;
  const StepBound bound_;
  std::unique_ptr<kernels::Event> routed_;
  kernels::MappedMemory memory_;
  kernels::ResolveTask lists_;  // the host's, and what they are of
  std::uint64_t waits_ = 0;
};

}  // namespace hearth::runtime
