// The VRAM tier of experts: slots in the memory of a device, and the tables by which its kernels
// find, give and take them while steps run (kernels/gpu/expert_tables.h).
//
// Owned by whoever owns the device's model, used by the conductor thread. The kernels decide about
// victims, or the host in their place (host_cache.h); what is here happens before the first step
// and between steps, when the stream is idle:
//
//   steps --begin_changes--> put, set_slots, resident, address --end_changes--> steps
//
// begin_changes() takes the tables from the device, end_changes() gives them back. The memory of a
// class is taken in chunks, so that slots given up at run time are memory for others: a chunk goes
// when none of its slots is left. Which expert is where never changes an answer.
//
// Slots of a class, the held ones first (hold()); those that follow traffic are given up first:
//
//   [ held | follow traffic | given up ]
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "kernels/gpu/prefetch.h"
#include "kernels/gpu/resolve.h"
#include "runtime/experts/expert_store.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/uploader.h"

namespace hearth::runtime {

// How the experts of a model lie in slots. Classes are those of the plan (ModelNeeds::classes).
struct ExpertSlots {
  ExpertSpace space;
  std::vector<std::uint32_t> experts_of_layer;
  std::vector<kernels::SlotLayout> layout_of_layer;
  std::vector<std::uint8_t> class_of_layer;  // Residency::kNoClass: no experts
  std::vector<std::uint64_t> slot_bytes;     // per class: of the largest layout
};
ExpertSlots expert_slots(const ExpertCatalog& catalog, const SizeClasses& classes);

class ExpertArena {
 public:
  // Bytes of the device for these slots and the tables, as they are taken.
  static Bytes bytes_needed(const ExpertSlots& experts,
                            std::span<const std::uint32_t> slots_of_class);
  // Takes so many slots of each class, all free: at most as many there ever are. In changes: they
  // end before the first step. Device and stream outlive the arena; the stream is that of the
  // kernels. Throws Error(kBudget) where the device has not so much left.
  ExpertArena(ExpertSlots experts, std::span<const std::uint32_t> slots_of_class,
              kernels::Device& device, kernels::Stream& stream, Bytes most_chunk = 64 * kMiB);

  // The first so many slots of each class are held from now on: no step gives them to another
  // expert, so that what is put there needs no copy in RAM. Before the first task().
  void hold(std::span<const std::uint32_t> slots_of_class);

  // The tables of steps are those of the host from now on, which resolves in the place of kernels;
  // the device keeps the memory of its own. In changes, before the first task().
  void keep_tables_on_host();

  // What resolves the routing of a layer, but for its input and its lists: the experts of the next
  // layer are the last that make room. The same for all steps, as a captured graph needs it.
  kernels::ResolveTask task(LayerIndex layer) const;
  // Likewise, what prefetches experts of a layer.
  kernels::PrefetchTask prefetch_task(LayerIndex layer) const;

  // Where a gather finds an expert from the next step on; no parts: it is not in RAM. The memory
  // stays as it is until it was said to be elsewhere, and no step is under way.
  void set_source(ExpertId id, const kernels::ExpertSource& source);
  void send_sources();  // before that step; enqueued
  const kernels::ExpertSource& source(ExpertId id) const {
    return host_.sources[experts_.space.flat(id)];
  }

  void begin_changes();  // waits for the stream
  void end_changes();    // likewise

  // Gives an absent expert a free slot of its class, held ones first, whose bytes are there before
  // the changes end: the parts as in experts().layout_of_layer. Null where there is none. Counts as
  // used before the first step, and before what was given a slot earlier.
  std::byte* give_slot(ExpertId id);
  void take_slot(ExpertId id);  // of an expert that has one
  // Gives a slot and copies the expert there, false where there is none. Its parts may go once the
  // call is over.
  bool put(ExpertId id, const kernels::ExpertSource& parts, Uploader& uploader);
  // The class has so many slots from now on. With fewer, the experts unused for longest before
  // `step` leave, those that are held last, and the others move together; with more, throws
  // Error(kBudget) where the device has no memory for them, and then nothing has changed.
  void set_slots(std::uint8_t size_class, std::uint32_t slots, std::uint32_t step);
  std::vector<ExpertId> resident() const;
  // The slot of an expert until the next step, for what the host enqueues itself; null: in none.
  const std::byte* address(ExpertId id) const;

  const ExpertSlots& experts() const { return experts_; }
  std::uint32_t slots(std::uint8_t size_class) const { return classes_[size_class].slots; }
  std::uint32_t following(std::uint8_t size_class) const;                  // of these, not held
  bool holds(ExpertId id) const;                                           // until the next changes
  Bytes memory() const;                                                    // of the device, now
  Bytes memory_with(std::span<const std::uint32_t> slots_of_class) const;  // after set_slots
  // Of each layer, since the start; waits for the stream.
  std::vector<kernels::ExpertCounters> counters();
  // The same without waiting: enqueues their copy, which is there when the stream has come so far.
  void send_counters();
  std::span<const kernels::ExpertCounters> counters_sent() const { return host_.counters; }

 private:
  struct Chunk {
    std::uint32_t first = 0;  // slot of the class
    std::uint32_t slots = 0;
    kernels::DeviceBuffer memory;
  };
  struct SizeClass {
    std::uint32_t first = 0;  // of all slots
    std::uint32_t most = 0;
    std::uint32_t held = 0;  // of `most`
    std::uint32_t slots = 0;
    std::uint32_t next_free = 0;  // none below it is
    std::vector<Chunk> chunks;
  };
  // Tables in memory that the stream copies from and to.
  struct Tables {
    Tables(const ExpertSlots& experts, std::uint32_t slots, DeviceArena& arena);
    Tables(const ExpertSlots& experts, std::uint32_t slots, const kernels::MappedMemory& memory);
    template <typename Take>
    void take_all(const ExpertSlots& experts, std::uint32_t slots, Take&& take);

    std::span<std::uint32_t> slot_of, active_in, guessed;
    std::span<kernels::ExpertSlot> slots;
    std::span<std::byte*> addresses;
    std::span<kernels::ExpertSource> sources;
    std::span<kernels::ExpertCounters> counters;
  };

  static Bytes table_bytes(const ExpertSlots& experts, std::uint32_t slots);
  SizeClass& class_of(ExpertId id) { return classes_[experts_.class_of_layer[id.layer]]; }
  std::span<kernels::ExpertSlot> slots_of(const SizeClass& of) const;
  bool has_expert(const kernels::ExpertSlot& slot) const;
  void divide_into_chunks(std::uint8_t size_class, Bytes most_chunk);
  void take_chunks(SizeClass& of, std::uint32_t slots, std::uint64_t slot_bytes);
  void give_chunks_back(SizeClass& of);
  void write_addresses(const SizeClass& of, std::uint64_t slot_bytes);
  void evict(const SizeClass& of, std::uint32_t keep, std::uint32_t step);
  void move_together(const SizeClass& of, std::uint32_t slots, std::uint64_t slot_bytes);

  const ExpertSlots experts_;
  kernels::Device& device_;
  kernels::Stream& stream_;
  std::vector<SizeClass> classes_;
  DeviceArena table_memory_;
  Tables of_steps_;  // on the device, or the same as host_
  kernels::MappedMemory host_memory_;
  Tables host_;
  bool changing_ = true;
  std::uint32_t put_age_ = 0;        // of the last expert that was put
  std::uint32_t sources_begin_ = 0;  // changed and not sent: [begin, end)
  std::uint32_t sources_end_ = 0;
};

}  // namespace hearth::runtime
