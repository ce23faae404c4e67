#include "kernels/gpu/resolve.h"

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/port.h"
#include "kernels/gpu/route.cuh"
#include "kernels/gpu/slot_search.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kResolveThreads = kSearchThreads;  // a thread has a pair
constexpr std::uint32_t kNoExpert = 0xffffffff;

// Who computes an expert, in the order of places.
enum Lane : std::uint32_t { kHit, kArriving, kFetched, kOnHost, kMiss, kNobody };
// Places go by turns: lanes one after another, in a lane by fetch or by first appearance.
constexpr std::uint32_t kTurnsPerLane = kMostResolvedPairs;

// Of pairs, and of experts: at the pair where they appear first.
struct ResolveShared {
  std::uint32_t expert[kMostResolvedPairs];  // or kNoExpert
  std::uint32_t twice[kMostResolvedPairs];   // its row has the expert already
  std::uint32_t lane[kMostResolvedPairs];
  std::uint32_t age[kMostResolvedPairs];   // of a miss: steps since it was chosen
  std::uint32_t turn[kMostResolvedPairs];  // kNobody's come last
  std::uint32_t slot[kMostResolvedPairs];  // of what the device computes
  std::uint32_t rows[kMostResolvedPairs];
  std::uint32_t begin[kMostResolvedPairs];
  FoundSlots found;                   // for fetches
  std::uint32_t counts[kOnHost + 1];  // experts of each lane
  std::uint32_t not_in_ram, guesses_used, faults;
};

// The routing of a step [rows][experts_used], in global or shared memory.
struct Routing {
  const std::uint16_t* ids;
  const float* weights;
};

// What a thread knows of its pair.
struct Pair {
  std::uint32_t index;
  std::uint32_t row;
  std::uint32_t expert;    // or kNoExpert
  std::uint32_t first;     // pair where the expert appears first
  std::uint32_t in_group;  // among the pairs of the expert
};

HEARTH_DEVICE bool is_first(const Pair& pair) {
  return pair.expert != kNoExpert && pair.first == pair.index;
}

HEARTH_DEVICE std::uint32_t pairs_of(const ResolveTask& task) {
  return task.rows * task.experts_used;
}

HEARTH_DEVICE Pair read_pair(const ResolveTask& task, const Routing& routing,
                             ResolveShared& shared) {
  const std::uint32_t index = thread_index();
  const bool exists = index < pairs_of(task);
  const std::uint32_t id = exists ? routing.ids[index] : 0;
  const bool chosen = exists && id < task.experts;
  shared.expert[index] = chosen ? id : kNoExpert;
  shared.lane[index] = kNobody;
  shared.turn[index] = kNobody * kTurnsPerLane;
  shared.rows[index] = 0;
  if (index <= kOnHost) shared.counts[index] = 0;
  if (index == 0) {
    shared.not_in_ram = shared.guesses_used = shared.faults = 0;
    shared.found.evictions = shared.found.dropped = 0;
  }
  sync_threads();
  if (exists && !chosen) atomic_add(&shared.faults, 1u);
  return {index, exists ? index / task.experts_used : 0, shared.expert[index], index, 0};
}

// Pairs of one expert find each other: a row counts once.
HEARTH_DEVICE void find_group(const ResolveTask& task, ResolveShared& shared, Pair& pair) {
  bool twice = false;
  for (std::uint32_t other = 0; other < pair.index && pair.expert != kNoExpert; ++other) {
    if (shared.expert[other] != pair.expert) continue;
    if (other < pair.first) pair.first = other;
    twice |= other / task.experts_used == pair.row;
  }
  shared.twice[pair.index] = twice;
  if (twice) atomic_add(&shared.faults, 1u);
  sync_threads();
  if (pair.expert == kNoExpert) return;
  std::uint32_t rows = 0;
  for (std::uint32_t other = pair.first; other < pairs_of(task); ++other) {
    if (shared.expert[other] != pair.expert || shared.twice[other]) continue;
    if (other < pair.index) ++pair.in_group;
    ++rows;
  }
  if (twice) --pair.in_group;  // the place of the one before it
  if (is_first(pair)) shared.rows[pair.index] = rows;
}

// Hits are stamped, before anybody looks for victims.
HEARTH_DEVICE void look_up(const ResolveTask& task, ResolveShared& shared, const Pair& pair,
                           std::uint32_t step) {
  if (!is_first(pair)) return;
  const std::uint32_t expert = task.first_expert + pair.expert;
  const std::uint32_t slot = task.tables.slot_of[expert];
  const std::uint32_t guessed = task.tables.guessed[expert];
  const std::uint32_t active_in = task.tables.active_in[expert];
  Lane lane = kHit;
  if (slot != kNoSlot) {
    shared.slot[pair.index] = slot;
    prefetch(task.tables.addresses + slot);
    if (guessed != 0) {
      if (task.tables.slots[slot].last_use == step) lane = kArriving;
      task.tables.guessed[expert] = 0;
      atomic_add(&shared.guesses_used, 1u);
    }
    task.tables.slots[slot].last_use = step;
  } else if (task.tables.sources[expert].parts[0] != nullptr) {
    lane = kMiss;
    shared.age[pair.index] = step - active_in;
  } else {
    lane = kOnHost;
    atomic_add(&shared.not_in_ram, 1u);
  }
  shared.lane[pair.index] = lane;
  task.tables.active_in[expert] = step;
}

struct Misses {
  std::uint32_t count;
  std::uint32_t order;  // of the pair's expert among them
};

// Those that were chosen most recently first.
HEARTH_DEVICE Misses order_misses(const ResolveTask& task, const ResolveShared& shared,
                                  const Pair& pair) {
  Misses misses = {0, 0};
  const bool missed = shared.lane[pair.index] == kMiss;
  for (std::uint32_t other = 0; other < pairs_of(task); ++other) {
    if (shared.lane[other] != kMiss) continue;
    ++misses.count;
    if (!missed) continue;
    const std::uint32_t age = shared.age[pair.index], other_age = shared.age[other];
    if (other_age < age || (other_age == age && other < pair.index)) ++misses.order;
  }
  return misses;
}

// Settles who computes each expert, and when its turn is.
HEARTH_DEVICE void split_misses(const ResolveTask& task, ResolveShared& shared, const Pair& pair,
                                std::uint32_t step) {
  const Misses misses = order_misses(task, shared, pair);
  std::uint32_t limit = misses.count > 0 ? task.fetch_limits[misses.count] : 0;
  if (limit > misses.count) limit = misses.count;
  if (limit > task.most_fetches) limit = task.most_fetches;
  const SlotSearch search = {.slots = task.tables.slots + task.first_slot,
                             .count = task.slots,
                             .step = step,
                             .least_age = 1,
                             .protected_first = task.protected_first,
                             .protected_count = task.protected_count,
                             .all_experts = task.all_experts,
                             .takes_protected = true};
  const std::uint32_t fetched = find_slots(search, shared.found, limit);

  if (!is_first(pair)) return;
  std::uint32_t lane = shared.lane[pair.index], in_lane = pair.index;
  if (lane == kMiss && misses.order < fetched) {
    const std::uint32_t slot = task.first_slot + shared.found.slots[misses.order];
    give_slot(task.tables, slot, task.first_expert + pair.expert, step, shared.found);
    shared.slot[pair.index] = slot;
    lane = kFetched;
    in_lane = misses.order;
  } else if (lane == kMiss) {
    lane = kOnHost;
  }
  shared.lane[pair.index] = lane;
  shared.turn[pair.index] = lane * kTurnsPerLane + in_lane;
  atomic_add(&shared.counts[lane], 1u);
}

// The job of an expert, as number `job` of its lane.
HEARTH_DEVICE void write_job(const ResolveTask& task, const ResolveShared& shared, const Pair& pair,
                             std::uint32_t job) {
  const std::uint32_t begin = shared.begin[pair.index], rows = shared.rows[pair.index];
  const std::uint32_t lane = shared.lane[pair.index];
  if (lane == kOnHost) {
    task.host_jobs[job] = {pair.expert, begin, rows};
    return;
  }
  std::byte* slot = task.tables.addresses[shared.slot[pair.index]];
  ExpertJob written;
  for (std::uint32_t part = 0; part < kExpertParts; ++part)
    written.matrices[part] = slot + task.layout.offsets[part];
  written.expert = pair.expert;
  written.begin = begin;
  written.rows = rows;
  if (lane == kHit)
    task.hits[job] = written;
  else
    task.fetched[lane == kArriving ? job : shared.counts[kArriving] + job] = written;
  if (lane == kFetched)
    task.fetches[job] = {task.tables.sources[task.first_expert + pair.expert], slot};
}

HEARTH_DEVICE void place_experts(const ResolveTask& task, ResolveShared& shared, const Pair& pair) {
  if (!is_first(pair)) return;
  const std::uint32_t turn = shared.turn[pair.index];
  const std::uint32_t first_turn = shared.lane[pair.index] * kTurnsPerLane;
  std::uint32_t begin = 0, job = 0;
  for (std::uint32_t other = 0; other < pairs_of(task); ++other) {
    if (shared.turn[other] >= turn) continue;
    begin += shared.rows[other];
    if (shared.turn[other] >= first_turn) ++job;
  }
  shared.begin[pair.index] = begin;
  write_job(task, shared, pair, job);
}

HEARTH_DEVICE void write_pair(const ResolveTask& task, const Routing& routing,
                              const ResolveShared& shared, const Pair& pair) {
  if (pair.index >= pairs_of(task)) return;
  if (pair.expert == kNoExpert) {
    task.results[pair.index] = task.nothing;
    return;
  }
  const std::uint32_t place = shared.begin[pair.first] + pair.in_group;
  const ResultRows& results = shared.lane[pair.first] == kOnHost ? task.on_host : task.on_device;
  task.results[pair.index] = results.rows + place * results.stride;
  if (shared.twice[pair.index]) return;
  task.x_rows[place] = pair.row;
  task.x_weights[place] = routing.weights[pair.index];
}

// Jobs are launched for their bound: the rest has no rows.
HEARTH_DEVICE void empty_the_rest(ExpertJob* jobs, std::uint32_t count, std::uint32_t bound) {
  for (std::uint32_t i = count + thread_index(); i < bound; i += block_threads())
    jobs[i] = ExpertJob{};
}

HEARTH_DEVICE void write_counts(const ResolveTask& task, const ResolveShared& shared) {
  *task.fetch_count = shared.counts[kFetched];
  *task.host_count = shared.counts[kOnHost];
  if (task.faults != nullptr && shared.faults != 0) *task.faults += shared.faults;
  ExpertCounters& counters = task.tables.counters[task.layer];
  counters.hits += shared.counts[kHit] + shared.counts[kArriving];
  counters.fetched += shared.counts[kFetched];
  counters.on_host += shared.counts[kOnHost];
  counters.not_in_ram += shared.not_in_ram;
  counters.evictions += shared.found.evictions;
  counters.faults += shared.faults;
  counters.prefetches_used += shared.guesses_used;
  counters.prefetches_dropped += shared.found.dropped;
}

// By one block. Loops over the pairs read shared memory alone, at one address for all lanes; the
// slots of the class are read only where an expert is fetched.
HEARTH_DEVICE void resolve_pairs(const ResolveTask& task, const Routing& routing,
                                 ResolveShared& shared) {
  HEARTH_ASSERT(pairs_of(task) <= kMostResolvedPairs && task.slots <= kMostClassSlots);
  const std::uint32_t step = *task.step;
  Pair pair = read_pair(task, routing, shared);
  find_group(task, shared, pair);
  look_up(task, shared, pair, step);
  sync_threads();
  split_misses(task, shared, pair, step);
  sync_threads();
  place_experts(task, shared, pair);
  sync_threads();
  write_pair(task, routing, shared, pair);
  empty_the_rest(task.hits, shared.counts[kHit], pairs_of(task));
  empty_the_rest(task.fetched, shared.counts[kArriving] + shared.counts[kFetched], pairs_of(task));
  if (thread_index() == 0) write_counts(task, shared);
}

// What is read one after the other, and as far away as weights: a layer's part of the tables.
HEARTH_DEVICE void prefetch_tables(const ResolveTask& task) {
  prefetch_values(task.tables.slot_of + task.first_expert, task.experts);
  prefetch_values(task.tables.guessed + task.first_expert, task.experts);
  prefetch_values(task.tables.active_in + task.first_expert, task.experts);
}

// One block.
HEARTH_KERNEL(kResolveThreads) resolve_layer(ResolveTask task) {
  prefetch_tables(task);
  wait_for_previous();
  HEARTH_SHARED(ResolveShared, shared);
  resolve_pairs(task, {task.ids, task.weights}, shared);
}

struct RouteAndResolveShared {
  RouteShared route;
  ResolveShared resolve;
};

// One block; then those that ask ahead.
static_assert(kResolveThreads <= kMostRouteThreads);
HEARTH_KERNEL(kResolveThreads) route_and_resolve_row(RouteAndResolveTask task) {
  if (block_x() > 0) {
    ask_ahead(task.ahead, block_x() - 1);
  } else {
    prefetch_values(task.route.bias, task.route.spec.experts);
    prefetch_values(task.route.selection_bias, task.route.spec.experts);
    prefetch_tables(task.resolve);
  }
  wait_for_previous();
  if (block_x() > 0) return;
  HEARTH_SHARED(RouteAndResolveShared, shared);
  HEARTH_ASSERT(task.route.rows == 1 && pairs_of(task.resolve) == task.route.spec.used);
  route_row(task.route, shared.route);
  resolve_pairs(task.resolve, {shared.route.ids, shared.route.weights}, shared.resolve);
}

void launch_resolve(const ResolveTask& task, NativeStream stream) {
  if (task.rows == 0 || task.experts_used == 0) return;
  launch(resolve_layer, {.threads = kResolveThreads}, stream, task);
}

void launch_route_and_resolve(const RouteAndResolveTask& task, NativeStream stream) {
  if (task.resolve.rows == 0 || task.resolve.experts_used == 0) return;
  launch(route_and_resolve_row,
         {.blocks_x = 1 + ahead_blocks(task.ahead), .threads = kResolveThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
