// Layers of experts with tables of residency, and what resolving a routing makes of them: by the
// specification in plain C++, and on a device.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "kernels/gpu/prefetch.h"
#include "kernels/gpu/resolve.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {

struct ResolveShape {
  std::uint32_t layers = 1;
  std::uint32_t experts = 8;  // of a layer
  std::uint32_t used = 2;
  std::uint32_t most_fetches = 8;
  std::vector<std::uint32_t> slots_of_class = {4};
  std::vector<std::uint32_t> class_of_layer = {0};
  std::vector<std::uint32_t> held_of_class = {};  // the first slots of each; empty: none

  std::uint32_t all_experts() const { return layers * experts; }
  std::uint32_t all_slots() const { return first_slot(slots_of_class.size()); }
  std::uint32_t first_slot(std::size_t size_class) const;
  std::uint32_t held(std::size_t size_class) const {
    return held_of_class.empty() ? 0 : held_of_class[size_class];
  }
};

// The tables, in vectors. Addresses and sources are numbers that nobody reads at.
struct ResolveState {
  explicit ResolveState(const ResolveShape& shape);

  // Puts an expert (of all) into a slot, as if it had been used in `step`.
  void put(std::uint32_t expert, std::uint32_t slot, std::uint32_t step);
  // The same, as if it had been prefetched.
  void guess(std::uint32_t expert, std::uint32_t slot, std::uint32_t step);
  bool operator==(const ResolveState&) const = default;

  std::uint32_t step = 1;
  std::vector<std::uint32_t> slot_of, active_in, guessed;
  std::vector<ExpertSlot> slots;
  std::vector<ExpertCounters> counters;
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint64_t> sources;  // the first part; 0: not in RAM
  std::uint32_t faults = 0;
};

struct ResolveInput {
  std::uint32_t layer = 0;
  std::vector<std::uint16_t> ids;   // [rows][used]
  std::vector<float> weights = {};  // likewise; empty: some
  std::uint32_t protected_first = 0, protected_count = 0;
  // Of that many misses and more; as long as needed.
  std::vector<std::uint32_t> fetch_limits = {};  // empty: all
};

struct ExpectedJob {
  std::uint64_t slot_address;  // 0: of the host
  std::uint32_t expert;
  std::vector<std::uint32_t> rows;  // of x
  bool operator==(const ExpectedJob&) const = default;
};

// All that is written, in the order of memory; what nobody wrote is ones.
struct ResolveOutput {
  struct Job {
    std::uint64_t matrices[3];
    std::uint32_t expert, begin, rows;
    bool operator==(const Job&) const = default;
  };
  struct Fetch {
    std::uint64_t from[3], to;
    bool operator==(const Fetch&) const = default;
  };
  std::vector<Job> hits, fetched;
  std::vector<Fetch> fetches;
  std::uint32_t fetch_count = 0, host_count = 0;
  std::vector<Job> host_jobs;
  std::vector<std::uint32_t> x_rows;
  std::vector<std::uint32_t> x_weights;  // bits
  std::vector<std::uint64_t> results;
  bool operator==(const ResolveOutput&) const = default;

  // Jobs with rows, and the rows of x that they are computed for.
  std::vector<ExpectedJob> hit_jobs() const { return jobs(hits, hits.size()); }
  std::vector<ExpectedJob> fetched_jobs() const { return jobs(fetched, fetched.size()); }
  std::vector<ExpectedJob> jobs_of_host() const { return jobs(host_jobs, host_count); }

 private:
  std::vector<ExpectedJob> jobs(const std::vector<Job>& list, std::size_t count) const;
};

// Addresses and results: place p of the device is at kDeviceResults + p × 64, of the host likewise.
inline constexpr std::uint64_t kSlotAddress = 0x10000;  // of slot s: × (s + 1)
inline constexpr std::uint64_t kDeviceResults = 0x5000000, kHostResults = 0x6000000;
inline constexpr std::uint64_t kNothing = 0x7000000;
inline constexpr SlotLayout kTestLayout = slot_layout(300, 256, 1000);

// What is guessed of a layer, while the layer before it fetches so many.
struct PrefetchInput {
  std::uint32_t layer = 0;
  std::uint32_t rows = 1;
  std::vector<std::uint16_t> ids;  // [rows][used]
  std::uint32_t fetch_count = 0;
  std::vector<std::uint32_t> limits = {8};  // by number of fetches; the last of all more
  std::uint32_t most = 8;
};

struct PrefetchOutput {
  std::vector<ResolveOutput::Fetch> fetches;  // as many as were prefetched
  bool operator==(const PrefetchOutput&) const = default;
};

PrefetchOutput prefetch(const TestDevice* on, const ResolveShape& shape, const PrefetchInput& input,
                        ResolveState& state);

// Changes `state` as the layer does. Null: the specification.
ResolveOutput resolve(const TestDevice* on, const ResolveShape& shape, const ResolveInput& input,
                      ResolveState& state);

// Of one row that is routed in the same launch: `input` has room for its ids, whatever they are.
ResolveOutput route_and_resolve(const TestDevice& on, const ResolveShape& shape,
                                const ResolveInput& input, const RouteTask& route,
                                ResolveState& state);

}  // namespace hearth::kernels
