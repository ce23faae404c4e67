// The experts of a model in memory tiers, for a program that computes them itself: all that stands
// behind include/hearth/experts.h, which says what each function means.
//
// Used by one thread at a time. What is under way goes on in its calls.
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
#include "base/opening_process.h"
#include "io/arena.h"
#include "io/async_reader.h"
#include "profiler/routing.h"
#include "runtime/experts/device_tier.h"
#include "runtime/experts/expert_catalog.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/hint_queue.h"
#include "runtime/experts/residence_toml.h"

namespace hearth::runtime {

enum class Tier : std::uint8_t { kRam, kDevice };

// The least budget of a tier that works, and the one that holds all experts.
struct TierNeeds {
  Bytes least;
  Bytes full;
};

struct ExpertPlace {
  std::uint32_t slot = 0;
  std::uint64_t slot_bytes = 0;
  std::uint32_t parts = 0;
  std::array<const std::byte*, kMaxExpertParts> part{};
  std::array<std::uint64_t, kMaxExpertParts> bytes{};
};

class ExpertTiers {
 public:
  struct Options {
    Bytes ram;
    Bytes device_memory;       // with a device
    Device* device = nullptr;  // null: RAM is what leases give; outlives this
    std::string policy;
    std::uint32_t at_once = 1;  // distinct experts of a layer that are leased together
    io::ReaderOptions reader = {};
  };

  // Throws Error(kBudget) naming the least that works, and what the reader throws.
  ExpertTiers(std::vector<std::string> paths, ExpertCatalog catalog, Options options,
              const Clock& clock = steady_clock());
  // With a reader that is not the system's, for tests.
  ExpertTiers(std::vector<std::string> paths, ExpertCatalog catalog, Options options,
              std::unique_ptr<io::AsyncReader> reader, const Clock& clock);
  ~ExpertTiers();

  // Experts of one layer that are pinned; made by acquire() and owned by the tiers.
  class Lease {
   public:
    ExpertTiers& tiers() const { return tiers_; }
    bool held() const { return held_; }
    std::size_t size() const { return places_.size(); }  // of the ids asked for
    bool waited() const { return waited_; }
    // What streams wait for; null where there is nothing. After wait().
    Device::Event event() const { return event_.event(); }

   private:
    friend class ExpertTiers;
    explicit Lease(ExpertTiers& tiers) : tiers_(tiers) {}

    ExpertTiers& tiers_;
    bool held_ = false;
    bool waited_ = false;
    std::vector<ExpertId> experts_;      // distinct
    std::vector<std::uint32_t> places_;  // of each id asked for, among them
    std::vector<ExpertLease> ram_;       // of each, without a device
    std::vector<char> pinned_;           // of each
    DeviceEvents::Ref event_;
    DeviceEvents::Ref read_;  // for release(), which so cannot be refused one; with a device
  };

  // Ids are of experts that there are (CHECK).
  void observe(const profiler::Routing& routing);
  void hint(std::span<const ExpertId> likeliest_first, Nanoseconds from_now);
  // Throws Error(kBudget) where there are not enough slots that are not leased, or no event.
  Lease& acquire(std::span<const ExpertId> experts);
  void wait(Lease& lease);
  bool ready(Lease& lease, std::size_t index);
  bool readable(const Lease& lease, std::size_t index) const;  // for place()
  ExpertPlace place(const Lease& lease, std::size_t index) const;
  void release(Lease& lease, Device::Stream stream);
  void poll();

  // Throws Error(kBudget), and nothing changes. No lease is held (CHECK).
  void set_budget(Tier tier, Bytes budget);
  std::size_t leases_held() const { return held_; }

  Residence residence() const;
  std::uint64_t take_residence(const Residence& residence);  // gives how many experts were read

  struct Counters {
    profiler::ResidencyCounters routed;
    std::uint64_t hints_late = 0, hints_dropped = 0;
    Bytes moved, memory;
    Nanoseconds waited{0};
    std::uint32_t slots = 0, resident = 0, leased = 0;
  };
  Counters counters(Tier tier, std::optional<LayerIndex> layer) const;

  const OpeningProcess& process() const { return process_; }
  bool has_device() const { return device_ != nullptr; }
  const ExpertCatalog& catalog() const { return catalog_; }
  const std::string& policy() const { return options_.policy; }
  const std::string& reader_description() const { return reader_description_; }
  TierNeeds needs(Tier tier) const;

 private:
  static constexpr std::size_t kHints = 4096;
  // Experts read at once for guesses: enough to keep a disk busy, few enough that what is acquired
  // meanwhile does not wait for long.
  static constexpr std::size_t kGuessesUnderWay = 4;

  const SizeClasses& classes(Tier tier) const;
  const profiler::Residency& residency(Tier tier) const;
  std::uint32_t fewest_slots(Tier tier) const;
  std::vector<std::uint32_t> slots_for(Tier tier, Bytes budget) const;
  std::span<std::byte> host_memory(Bytes size);
  Lease& free_lease();
  void list_distinct(Lease& lease, std::span<const ExpertId> experts);
  void pin(Lease& lease);
  void pin(Lease& lease, std::uint32_t index);
  void wait_for_slot(ExpertId id);
  void let_go(Lease& lease, const DeviceEvents::Ref& read);
  void take_note();
  bool in_place(const Lease& lease, std::uint32_t place) const;
  void start_hints();
  bool start_hint(ExpertId id);
  void throw_if_failed(ExpertId id);
  std::vector<ExpertId> absent_that_fit(Tier tier, std::span<const ExpertId> experts) const;
  void seed_device(std::span<const ExpertId> most_wanted_first);

  const std::vector<std::string> paths_;
  const ExpertCatalog catalog_;
  Options options_;
  const Clock& clock_;
  const OpeningProcess process_;
  std::unique_ptr<io::AsyncReader> reader_;
  std::string reader_description_;
  SizeClasses ram_classes_;
  std::byte* lent_memory_ = nullptr;  // of the device's host memory, aligned or not
  std::unique_ptr<ExpertStore> ram_;
  std::unique_ptr<DeviceTier> device_;
  HintQueue hints_{kHints};
  std::vector<std::unique_ptr<Lease>> leases_;
  std::size_t held_ = 0;
  std::vector<std::uint32_t> place_of_;   // [experts of a layer], of the lease being made
  std::vector<std::uint64_t> listed_in_;  // [experts of a layer]: lease that last listed it
  std::uint64_t listing_ = 0;
  std::vector<std::uint16_t> not_on_device_;  // of the decision being observed
  std::vector<std::uint64_t> uses_;           // [space] decisions
  std::optional<LayerIndex> last_layer_;      // observed
  std::uint64_t hints_dropped_ = 0;
};

}  // namespace hearth::runtime
