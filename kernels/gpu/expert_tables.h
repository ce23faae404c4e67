// Which expert is in which slot of a device's memory: tables in that memory, read and changed by
// its kernels while a step runs (resolve.h), without a word to the host.
//
//   slot_of [experts of the model]     slots [all classes]          addresses
//   ┌───┬───┬───┬───┬───┬───┬───┐      ┌───────┬──────────┐         ┌────────────┐
//   │ 2 │ - │ 0 │ - │ - │ 3 │ - │  ┌─► │ owner │ last_use │ slot 0  │ ●──────────┼─► gate|up|down
//   └───┴───┴─┼─┴───┴───┴───┴───┘  │   ├───────┼──────────┤         ├────────────┤
//             └────────────────────┘   │ free  │          │ slot 1  │ ●          │
//                                      ╞═══════╪══════════╡ class 1 ╞════════════╡
//                                      │ 0     │          │ slot 2  │ ●          │
//
// Experts are numbered layer by layer (ExpertSpace::flat). A size class is a range of slots whose
// addresses have room for its experts to the byte; a layer belongs to one class, and all layers of
// a class share its slots. The first slots of a class may be held: what is in them is there for
// good, and hit like all else, but no kernel gives them to another expert.
//
// Invariants, whenever no kernel runs: slot_of[e] = s exactly where slots[s].owner = e, so an
// expert has at most one slot and a slot at most one expert; a retired slot is nobody's.
//
// Ordering. The tables are written by kernels one after another, of the stream of the steps and of
// one that it waits for before it goes on with them (prefetch.h), and by the host where nothing is
// under way: between steps. The bytes of a slot are protected by the order of
// that stream, too: what a resolve gives away was not used in its step, so that whoever read it was
// launched in an earlier step and is done, and what it is given to is read by kernels that come
// after the gather. `sources` and the memory it points to change only where no graph is under way.
//
// Guesses. An expert that was prefetched (prefetch.h) is `guessed` until a step chooses it. In the
// step that prefetched it, it may be on its way still: whoever wants it waits as for what is
// fetched (resolve.h); in later steps it is a hit like all others.
//
// Recency. Steps are numbered, and a number is advanced before the first layer of its step; a step
// is one token, or the few rows of a speculation. What is compared is an age, step - last_use
// modulo 2^32, so that numbers may wrap.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kExpertParts = 3;  // gate, up, down
inline constexpr std::uint32_t kNoSlot = 0xffffffff;
// Owners that are no experts. A retired slot is never given away: its memory is lent elsewhere.
inline constexpr std::uint32_t kFreeSlot = 0xffffffff;
inline constexpr std::uint32_t kRetiredSlot = 0xfffffffe;
inline constexpr std::uint32_t kMostClassSlots = std::uint32_t{1} << 30;
// So long before the first step active_in begins: never.
inline constexpr std::uint32_t kNever = 0x80000000;

// Of slots and of the parts in them.
inline constexpr std::uint64_t kSlotAlignment = 256;

// How the experts of a layer lie in a slot.
struct SlotLayout {
  std::uint64_t bytes[kExpertParts] = {};
  std::uint64_t offsets[kExpertParts] = {};
  std::uint64_t size = 0;  // of a slot
};

constexpr SlotLayout slot_layout(std::uint64_t gate, std::uint64_t up, std::uint64_t down) {
  SlotLayout layout{.bytes = {gate, up, down}};
  for (std::uint32_t part = 0; part < kExpertParts; ++part) {
    layout.offsets[part] = layout.size;
    layout.size += round_up(layout.bytes[part], kSlotAlignment);
  }
  return layout;
}

struct alignas(8) ExpertSlot {
  std::uint32_t owner = kFreeSlot;
  std::uint32_t last_use = 0;  // step

  bool operator==(const ExpertSlot&) const = default;
};

// Where the parts of an expert lie in RAM that the device maps, at any address; all or none.
struct ExpertSource {
  const std::byte* parts[kExpertParts] = {};
};

// Of a layer, since the start. Distinct experts of a step count once, whatever its rows.
struct ExpertCounters {
  std::uint64_t hits = 0;
  std::uint64_t fetched = 0;     // misses that took a slot
  std::uint64_t on_host = 0;     // all other misses
  std::uint64_t not_in_ram = 0;  // of these, those that could not be fetched
  std::uint64_t evictions = 0;   // experts that left for one of this layer
  std::uint64_t faults = 0;      // pairs that no router may choose
  // Experts of the layer that came on a guess; of these, those that were chosen then, as hits; and
  // of any layer, those that left for one of this layer without having been chosen.
  std::uint64_t prefetched = 0;
  std::uint64_t prefetches_used = 0;
  std::uint64_t prefetches_dropped = 0;

  bool operator==(const ExpertCounters&) const = default;
};

struct ExpertTables {
  std::uint32_t* slot_of = nullptr;       // [experts]: or kNoSlot
  std::uint32_t* active_in = nullptr;     // [experts]: the last step that chose it
  std::uint32_t* guessed = nullptr;       // [experts]: 1 in a slot on a guess, not chosen since
  ExpertSlot* slots = nullptr;            // [slots]
  std::byte* const* addresses = nullptr;  // [slots]
  const ExpertSource* sources = nullptr;  // [experts]: null where not in RAM
  ExpertCounters* counters = nullptr;     // [layers]
};

}  // namespace hearth::kernels
