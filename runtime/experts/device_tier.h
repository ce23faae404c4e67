// Experts in the memory of a device: what is absent goes from the disk to a slot in RAM, and from
// there, by a copy on the device's copy stream, to a slot of the device.
//
// Owned by ExpertTiers, used by one thread.
//   absent --begin_fill--> waits for RAM --> copy is enqueued: ready --evict--> absent
//                               \--read or copy failed--> absent, once nobody leases it
// An expert is ready when its copy is enqueued: whoever reads it waits for the copy's event, and
// what overwrites it comes later on the same stream. RAM that a copy reads stays leased until the
// copy's event was reached. Slots remember the events after which they may be overwritten.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "runtime/experts/device.h"
#include "runtime/experts/expert_store.h"

namespace hearth::runtime {

class DeviceTier {
 public:
  struct Options {
    std::string_view policy;
    std::vector<std::uint32_t> slots_of_class;
  };
  static constexpr std::uint64_t kAlignment = 256;  // of the parts of an expert

  // All memory is taken here: Error(kBudget) where the device refuses it. The others outlive this.
  DeviceTier(Device& device, const ExpertCatalog& catalog, ExpertStore& ram, const Options& options,
             const Clock& clock);
  ~DeviceTier();  // waits for copies, unless the device is lost

  const profiler::Residency& residency() const { return *residency_; }
  void begin_step() { residency_->begin_step(); }
  void observe(const profiler::Routing& routing) { residency_->observe(routing); }

  // Gives an absent expert a slot; advance() does the rest. False where there is none now.
  bool begin_fill(ExpertId id, profiler::FillReason reason);
  bool filling() const { return !fills_.empty(); }
  std::size_t under_way() const { return fills_.size() + copies_.size(); }

  void lease(ExpertId id);  // of an expert that is not absent
  // `read`: after what the slot may be overwritten; not held where nobody reads it any more.
  void release(ExpertId id, const DeviceEvents::Ref& read);

  // Starts reads, enqueues copies of what arrived, and takes note of copies that are done.
  void advance();
  // Waits until advance() has something to do. Error(kBudget) where it never will.
  void wait_for_more();
  void settle();                      // waits until nothing is being filled or copied
  void throw_if_failed(ExpertId id);  // why the fill of a leased expert failed
  bool enqueued(ExpertId id) const {
    return residency_->state(id) == profiler::ExpertState::kReady;
  }
  bool arrived(ExpertId id) const { return enqueued(id) && copied_in_[flat(id)] <= done_; }
  // Of the last copy of these (enqueued) experts that is not done; not held where there is none.
  DeviceEvents::Ref event_of(std::span<const ExpertId> experts) const;
  DeviceEvents& events() { return events_; }

  std::uint32_t slot(ExpertId id) const { return residency_->slot(id)->index; }
  std::uint64_t slot_bytes(ExpertId id) const;
  const std::byte* part(ExpertId id, std::uint32_t index) const;

  // At most as many as at the start, whose memory is kept. Nothing may be leased or filling; all
  // experts leave.
  void set_slots(std::span<const std::uint32_t> slots_of_class);

  const SizeClasses& classes() const { return classes_; }
  Bytes bytes_copied() const { return bytes_copied_; }
  Nanoseconds time_waited() const { return time_waited_; }

 private:
  struct Fill {
    ExpertId id;
    profiler::FillReason reason;
    ExpertLease ram;  // held from when the read began
  };
  struct Copy {
    ExpertLease ram;
    std::uint64_t batch;
  };
  struct Batch {
    std::uint64_t number;
    DeviceEvents::Ref event;
  };

  std::uint32_t flat(ExpertId id) const { return space_.flat(id); }
  std::byte* slot_memory(profiler::SlotId slot) const;
  std::vector<DeviceEvents::Ref>& readers_of(profiler::SlotId slot);
  void remember_reader(profiler::SlotId slot, const DeviceEvents::Ref& read);
  Fill* fill_of(ExpertId id);
  void take_note_of_copies();
  void start_reads(profiler::FillReason reason);
  bool start_read(Fill& fill);
  void copy_what_arrived();
  void enqueue_copy(Fill& fill);
  int copy_parts(ExpertId id);
  void give_up(ExpertId id);

  Device& device_;
  const ExpertCatalog& catalog_;
  ExpertStore& ram_;
  const Clock& clock_;
  ExpertSpace space_;
  SizeClasses classes_;
  std::vector<std::byte*> class_memory_;
  std::byte* memory_ = nullptr;
  DeviceEvents events_;
  std::unique_ptr<profiler::Residency> residency_;
  std::vector<std::vector<DeviceEvents::Ref>> readers_;  // [slots], class after class
  std::vector<std::uint32_t> first_reader_;              // of each class
  std::vector<Fill> fills_;
  std::vector<Copy> copies_;
  std::vector<Batch> batches_;            // under way, in order
  std::vector<std::uint64_t> copied_in_;  // [space] batch
  std::vector<int> copy_error_;           // [space] of a leased expert whose copy failed
  std::uint64_t next_batch_ = 1;
  std::uint64_t done_ = 0;  // all batches up to this one
  Bytes bytes_copied_;
  Nanoseconds time_waited_{0};
};

}  // namespace hearth::runtime
