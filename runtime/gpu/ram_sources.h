// The RAM tier as the kernels of a device see it: which experts they may gather, and from where.
//
// What a step may gather must not move while it runs, and so it is leased from the store. But what
// the CPU lane reads from disk meanwhile needs slots, too: of a store that has not all experts, as
// many of each class as a token uses are left without a lease. Those are the ones unused for
// longest, so that leases are no obstacle to the policy of the store. Experts that the device holds
// for good are not leased, and so the first that leave RAM.
//
// Used by the conductor between steps. Nothing allocates in update().
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "runtime/engine.h"
#include "runtime/gpu/expert_arena.h"

namespace hearth::runtime {

class RamSources {
 public:
  // All outlive it. Nothing is leased yet.
  RamSources(Engine& engine, ExpertArena& arena, kernels::Device& device);

  // Before a step: leases what is in RAM, where release() left nothing leased, and sends the
  // device what has changed. Memory that the system refuses to pin is no source.
  void take();
  // After a step that chose these experts of a layer: the most recent.
  void used(LayerIndex layer, std::span<const std::uint16_t> experts);
  // Before others move, drop or read experts of the store. They stay sources until the next take(),
  // before which no step may run.
  void release();
  // The same, and the memory is not pinned any more: it can be given back to the system.
  void unpin();

  std::uint32_t leased() const;

 private:
  using Leases = std::list<ExpertLease>;  // the most recently used last

  void begin();
  std::vector<std::uint32_t> held_of_class() const;
  void pin();
  void used(ExpertId id);
  kernels::ExpertSource source_of(const ExpertLease& lease) const;
  void drop_oldest(Leases& leased);
  bool device_reads(const std::byte* part, std::uint64_t bytes) const;

  Engine& engine_;
  ExpertArena& arena_;
  kernels::Device& device_;
  const ExpertSpace space_;
  kernels::PinnedMemory memory_;
  bool taken_ = false;
  std::vector<std::uint32_t> most_;  // leases of each class
  std::vector<Leases> leased_;       // of each class
  Leases spare_;
  std::vector<Leases::iterator> place_;  // [experts]; the end of spare_: not leased
};

}  // namespace hearth::runtime
