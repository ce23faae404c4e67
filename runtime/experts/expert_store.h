// Where the bytes of experts live in RAM: slots, leases, and the reads that fill them.
//
// Owned by Engine, used by the conductor thread only. The decisions (which slot, which victim) are
// profiler::Residency's; this class adds the memory and the reader.
// Ordering: a slot is written by a read only after Residency gave it to a new expert, which it does
// for no expert that is leased or filling; weights are handed out only after the completion of the
// last read of the expert was reaped on this thread.
// Nothing allocates after construction.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/ids.h"
#include "io/arena.h"
#include "io/async_reader.h"
#include "profiler/residency.h"
#include "runtime/experts/expert_catalog.h"

namespace hearth::runtime {

struct ExpertWeights {
  kernels::WeightMatrix gate;
  kernels::WeightMatrix up;
  kernels::WeightMatrix down;
};

class ExpertStore;

// Pins one expert while it is held; nobody reads expert weights without one.
class ExpertLease {
 public:
  ExpertLease() = default;
  ~ExpertLease() { reset(); }
  ExpertLease(ExpertLease&& other) noexcept;
  ExpertLease& operator=(ExpertLease&& other) noexcept;

  ExpertId id() const { return id_; }
  bool held() const { return store_ != nullptr; }
  bool ready() const;                                // the weights have arrived
  ExpertWeights weights() const;                     // CHECKs ready(); of a catalog of slabs
  const std::byte* part(std::uint32_t index) const;  // of ExpertPart::bytes; CHECKs ready()
  void reset();

 private:
  friend class ExpertStore;
  ExpertLease(ExpertStore* store, ExpertId id);
  ExpertStore* store_ = nullptr;
  ExpertId id_;
};

enum class FetchResult : std::uint8_t { kStarted, kNoSlot, kQueueFull };

// The size classes of a catalog: layers whose largest experts have equally many bytes share one, by
// ascending bytes. They are the same for every tier; only how large a slot is depends on how its
// parts are aligned.
struct SizeClasses {
  std::vector<std::uint64_t> slot_bytes;     // per class
  std::vector<std::uint32_t> experts;        // per class
  std::vector<std::uint8_t> class_of_layer;  // Residency::kNoClass where a layer has no experts
};
// Throws Error(kUnsupported) when there are more than profiler::Residency can number.
SizeClasses size_classes(const ExpertCatalog& catalog, std::uint64_t alignment);
Bytes slot_memory_of(const SizeClasses& classes, std::span<const std::uint32_t> slots_of_class);

// `policy` is a known name; `popularity` as profiler::PolicyInput.
std::unique_ptr<profiler::Residency> make_residency(const ExpertCatalog& catalog,
                                                    const SizeClasses& classes,
                                                    std::string_view policy,
                                                    std::span<const std::uint32_t> slots_of_class,
                                                    std::span<const float> popularity);

class ExpertStore {
 public:
  struct Options {
    std::string_view policy;
    std::vector<std::uint32_t> slots_of_class;
    std::span<const float> popularity = {};  // of a profile, for the policy; may be empty
    std::uint32_t max_reads = io::ReaderOptions{}.max_queued;  // outstanding at once
    // Memory for all slots, slot_memory_of() them, aligned for the reader, that outlives the store.
    // Empty: the store takes its own.
    std::span<std::byte> memory = {};
  };

  // `paths` are those the reader was opened with. All four outlive the store, whose memory is taken
  // here.
  ExpertStore(const std::vector<std::string>& paths, const ExpertCatalog& catalog,
              io::AsyncReader& reader, const Options& options, const Clock& clock);
  ~ExpertStore();  // no read outlives it

  void begin_step() { residency_->begin_step(); }
  void observe(const profiler::Routing& routing) { residency_->observe(routing); }

  profiler::ExpertState state(ExpertId id) const { return residency_->state(id); }
  // Starts reading an absent expert, if a slot and a place in the reader's queue are to be had now.
  FetchResult fetch(ExpertId id, profiler::FillReason reason);
  // Of an expert that is ready or on its way.
  ExpertLease lease(ExpertId id) { return ExpertLease(this, id); }

  // Takes note of reads that finished; kOne waits for the next one if any is outstanding.
  // Throws Error(kIo), or Error(kBadFile) for a wrong hash, when a read for an expert on demand
  // failed for good.
  // To be called every fraction of a millisecond: the reader hands waiting reads on only here.
  void collect(io::AsyncReader::Wait wait);
  // The same for a caller that asks for failures expert by expert.
  void take_note(io::AsyncReader::Wait wait);
  bool failed(ExpertId id) const { return filling_[space_.flat(id)].failed; }
  void throw_if_failed(ExpertId id) const;
  bool reading() const { return reader_.outstanding() > 0; }
  std::size_t experts_on_their_way() const { return on_their_way_; }
  void settle();                                // waits until nothing is being read
  void drop_all() { residency_->evict_all(); }  // as if memory had just been taken

  // Gives the memory of slots back to the system, or takes it again: so many of each class, at most
  // as many as at the start. Waits for reads under way; nothing may be leased. Experts stay in
  // memory as far as there are slots, by choice of the policy. Throws Error(kBudget) when the
  // system refuses memory, and then nothing has changed.
  void set_slots(std::span<const std::uint32_t> slots_of_class);

  // Reads absent experts into free slots, of which there must be enough; the most wanted becomes
  // the most recent. `progress` is told of the bytes read so far. Throws Error(kIo).
  void seed(std::span<const ExpertId> most_wanted_first, FunctionRef<void(Bytes)> progress);
  // Reads all absent experts; for memory that holds every expert. Throws Error(kIo).
  void load_absent();

  const ExpertCatalog& catalog() const { return catalog_; }
  const std::string& path(std::uint32_t file) const { return paths_[file]; }
  const profiler::Residency& residency() const { return *residency_; }
  Bytes expert_bytes_read() const { return bytes_read_; }   // of experts, without window padding
  Nanoseconds time_waited() const { return time_waited_; }  // blocked in collect(kOne)
  std::span<const std::byte> memory() const { return memory_; }

 private:
  friend class ExpertLease;
  struct Filling {
    profiler::FillReason reason = profiler::FillReason::kDemand;
    std::uint8_t reads = 0;        // not yet reaped
    std::uint8_t failed_part = 0;  // where there is an error
    int error = 0;                 // as in io::ReadCompletion, or kWrongHash
    bool failed = false;           // absent again once the last lease is gone
  };
  static constexpr int kWrongHash = io::ReadCompletion::kUnexpectedEnd - 1;

  std::byte* slot_memory(profiler::SlotId slot) const;
  std::span<std::byte> slots_memory(std::size_t size_class, std::uint32_t begin,
                                    std::uint32_t end) const;
  void register_slots();
  void take_memory_again(std::span<const std::uint32_t> slots_of_class);
  bool reader_has_room(ExpertId id) const;
  void read_into(profiler::SlotId slot, ExpertId id, profiler::FillReason reason);
  ExpertWeights weights(ExpertId id) const;
  const std::byte* part(ExpertId id, std::uint32_t index) const;
  bool hash_is_right(ExpertId id, std::uint32_t index) const;
  std::optional<ExpertId> reap(io::AsyncReader::Wait wait);
  ExpertId expert_of(const io::ReadCompletion& completion) const;
  bool finish_read(const io::ReadCompletion& completion);
  void release(ExpertId id);

  const std::vector<std::string>& paths_;
  const ExpertCatalog& catalog_;
  io::AsyncReader& reader_;
  const Clock& clock_;
  ExpertSpace space_;
  std::uint64_t alignment_;
  std::uint32_t max_reads_;
  SizeClasses classes_;
  io::Arena arena_;  // empty where the memory was given
  std::span<std::byte> memory_;
  std::vector<std::byte*> class_memory_;  // first slot of each class
  std::unique_ptr<profiler::Residency> residency_;
  std::vector<Filling> filling_;  // [space]
  std::size_t on_their_way_ = 0;  // experts being read
  Bytes bytes_read_;
  Nanoseconds time_waited_{0};
};

}  // namespace hearth::runtime
