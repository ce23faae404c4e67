#include "tests/gpu/support/resolve_problem.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace hearth::kernels {
namespace {

// Memory of the host in the shape of a DeviceArray.
template <typename T>
class HostArray {
 public:
  HostArray(const TestDevice*, std::size_t count) : values_(count) {
    if (count > 0) std::memset(static_cast<void*>(values_.data()), 0xff, count * sizeof(T));
  }
  HostArray(const TestDevice*, const std::vector<T>& values) : values_(values) {}
  T* data() const { return const_cast<T*>(values_.data()); }
  std::vector<T> values() const { return values_; }

 private:
  std::vector<T> values_;
};

template <typename T>
class OnDevice : public DeviceArray<T> {
 public:
  OnDevice(const TestDevice* on, std::size_t count) : DeviceArray<T>(*on, count) {}
  OnDevice(const TestDevice* on, const std::vector<T>& values) : DeviceArray<T>(*on, values) {}
};

template <typename T>
const T* at(std::uint64_t address) {
  return reinterpret_cast<const T*>(address);
}
template <typename T>
std::uint64_t number(const T* address) {
  return reinterpret_cast<std::uint64_t>(address);
}

std::vector<ExpertSource> sources_of(const ResolveState& state) {
  std::vector<ExpertSource> sources;
  for (const std::uint64_t first : state.sources) {
    ExpertSource& source = sources.emplace_back();
    for (std::uint32_t part = 0; part < kExpertParts && first != 0; ++part)
      source.parts[part] = at<std::byte>(first + 7 * part);
  }
  return sources;
}

std::vector<std::byte*> addresses_of(const ResolveState& state) {
  std::vector<std::byte*> addresses;
  for (const std::uint64_t address : state.addresses)
    addresses.push_back(reinterpret_cast<std::byte*>(address));
  return addresses;
}

std::vector<std::uint32_t> limits_of(const ResolveInput& input) {
  std::vector<std::uint32_t> limits = input.fetch_limits;
  if (limits.empty()) limits.assign(input.ids.size() + 1, kMostResolvedPairs);
  limits.resize(input.ids.size() + 1, limits.back());
  return limits;
}

ResolveOutput::Job plain(const ExpertJob& job) {
  return {{number(job.matrices[0]), number(job.matrices[1]), number(job.matrices[2])},
          job.expert,
          job.begin,
          job.rows};
}

ResolveOutput::Fetch plain(const ExpertFetch& fetch) {
  return {{number(fetch.from.parts[0]), number(fetch.from.parts[1]), number(fetch.from.parts[2])},
          number(fetch.to)};
}

// The tables in memory of a call.
template <template <typename> class Array>
struct TablesMemory {
  TablesMemory(const TestDevice* on, const ResolveState& state)
      : step(on, std::vector{state.step}),
        slot_of(on, state.slot_of),
        active_in(on, state.active_in),
        guessed(on, state.guessed),
        slots(on, state.slots),
        addresses(on, addresses_of(state)),
        sources(on, sources_of(state)),
        counters(on, state.counters) {}

  ExpertTables view() const {
    return {.slot_of = slot_of.data(),
            .active_in = active_in.data(),
            .guessed = guessed.data(),
            .slots = slots.data(),
            .addresses = addresses.data(),
            .sources = sources.data(),
            .counters = counters.data()};
  }

  void take(ResolveState& state) const {
    state.slot_of = slot_of.values();
    state.active_in = active_in.values();
    state.guessed = guessed.values();
    state.slots = slots.values();
    state.counters = counters.values();
  }

  Array<std::uint32_t> step, slot_of, active_in, guessed;
  Array<ExpertSlot> slots;
  Array<std::byte*> addresses;
  Array<ExpertSource> sources;
  Array<ExpertCounters> counters;
};

// What is common to the tasks of a layer.
template <typename Task, template <typename> class Array>
Task task_of_layer(const ResolveShape& shape, std::uint32_t layer,
                   const TablesMemory<Array>& tables) {
  const std::uint32_t size_class = shape.class_of_layer[layer];
  return {.tables = tables.view(),
          .step = tables.step.data(),
          .layer = layer,
          .first_expert = layer * shape.experts,
          .experts = shape.experts,
          .first_slot = shape.first_slot(size_class) + shape.held(size_class),
          .slots = shape.slots_of_class[size_class] - shape.held(size_class)};
}

// The memory of one call, and its task.
template <template <typename> class Array>
struct ResolveMemory {
  ResolveMemory(const TestDevice* on, const ResolveShape& shape, const ResolveInput& input,
                const ResolveState& state)
      : tables(on, state),
        ids(on, input.ids),
        weights(on, input.weights.empty() ? weights_of(input.ids.size()) : input.weights),
        limits(on, limits_of(input)),
        hits(on, input.ids.size()),
        fetched(on, input.ids.size()),
        fetches(on, shape.most_fetches),
        fetch_count(on, 1),
        host_jobs(on, input.ids.size()),
        host_count(on, 1),
        x_rows(on, input.ids.size()),
        x_weights(on, input.ids.size()),
        results(on, input.ids.size()),
        faults(on, std::vector{state.faults}) {
    task = task_of_layer<ResolveTask>(shape, input.layer, tables);
    task.layout = kTestLayout;
    task.protected_first = input.protected_first;
    task.protected_count = input.protected_count;
    task.all_experts = shape.all_experts();
    task.rows = static_cast<std::uint32_t>(input.ids.size() / shape.used);
    task.experts_used = shape.used;
    task.ids = ids.data();
    task.weights = weights.data();
    task.fetch_limits = limits.data();
    task.most_fetches = shape.most_fetches;
    task.hits = hits.data();
    task.fetched = fetched.data();
    task.fetches = fetches.data();
    task.fetch_count = fetch_count.data();
    task.host_jobs = host_jobs.data();
    task.host_count = host_count.data();
    task.x_rows = x_rows.data();
    task.x_weights = x_weights.data();
    task.results = results.data();
    task.faults = faults.data();
    task.on_device = {at<float>(kDeviceResults), 16};
    task.on_host = {at<float>(kHostResults), 16};
    task.nothing = at<float>(kNothing);
  }

  static std::vector<float> weights_of(std::size_t pairs) {
    std::vector<float> weights(pairs);
    std::iota(weights.begin(), weights.end(), 0.5f);
    return weights;
  }

  void take_tables(ResolveState& state) const {
    tables.take(state);
    state.faults = faults.values()[0];
  }

  ResolveOutput output() const {
    ResolveOutput out;
    for (const ExpertJob& job : hits.values()) out.hits.push_back(plain(job));
    for (const ExpertJob& job : fetched.values()) out.fetched.push_back(plain(job));
    for (const ExpertFetch& fetch : fetches.values()) out.fetches.push_back(plain(fetch));
    out.fetch_count = fetch_count.values()[0];
    out.host_count = host_count.values()[0];
    for (const LaneJob& job : host_jobs.values())
      out.host_jobs.push_back({{}, job.expert, job.begin, job.rows});
    out.x_rows = x_rows.values();
    for (const float weight : x_weights.values())
      out.x_weights.push_back(std::bit_cast<std::uint32_t>(weight));
    for (const float* result : results.values()) out.results.push_back(number(result));
    return out;
  }

  TablesMemory<Array> tables;
  Array<std::uint16_t> ids;
  Array<float> weights;
  Array<std::uint32_t> limits;
  Array<ExpertJob> hits, fetched;
  Array<ExpertFetch> fetches;
  Array<std::uint32_t> fetch_count;
  Array<LaneJob> host_jobs;
  Array<std::uint32_t> host_count, x_rows;
  Array<float> x_weights;
  Array<const float*> results;
  Array<std::uint32_t> faults;
  ResolveTask task;
};

// Likewise of a prefetch.
template <template <typename> class Array>
struct PrefetchMemory {
  PrefetchMemory(const TestDevice* on, const ResolveShape& shape, const PrefetchInput& input,
                 const ResolveState& state)
      : tables(on, state),
        limits(on, limits_of(input)),
        fetch_count(on, std::vector{input.fetch_count}),
        count(on, 1),
        ids(on, input.ids),
        fetches(on, input.most) {
    task = task_of_layer<PrefetchTask>(shape, input.layer, tables);
    task.rows = input.rows;
    task.experts_used = shape.used;
    task.ids = ids.data();
    task.limits = limits.data();
    task.fetch_count = fetch_count.data();
    task.most = input.most;
    task.fetches = fetches.data();
    task.count = count.data();
  }

  static std::vector<std::uint32_t> limits_of(const PrefetchInput& input) {
    std::vector<std::uint32_t> limits = input.limits;
    limits.resize(std::max<std::size_t>(limits.size(), input.fetch_count + 1), limits.back());
    return limits;
  }

  void take_tables(ResolveState& state) const { tables.take(state); }

  PrefetchOutput output() const {
    PrefetchOutput out;
    const std::vector<ExpertFetch> all = fetches.values();
    for (const ExpertFetch& fetch : std::span(all).first(count.values()[0]))
      out.fetches.push_back(plain(fetch));
    return out;
  }

  TablesMemory<Array> tables;
  Array<std::uint32_t> limits, fetch_count, count;
  Array<std::uint16_t> ids;
  Array<ExpertFetch> fetches;
  PrefetchTask task;
};

// In memory of the device, or of the host for the specification.
template <template <template <typename> class> class Memory, typename Input, typename Run>
auto call(const TestDevice* on, const ResolveShape& shape, const Input& input, ResolveState& state,
          Run&& run) {
  const auto in = [&](const auto& memory) {
    run(memory.task);
    memory.take_tables(state);
    return memory.output();
  };
  return on == nullptr ? in(Memory<HostArray>(on, shape, input, state))
                       : in(Memory<OnDevice>(on, shape, input, state));
}

}  // namespace

std::uint32_t ResolveShape::first_slot(std::size_t size_class) const {
  return std::accumulate(slots_of_class.begin(),
                         slots_of_class.begin() + static_cast<std::ptrdiff_t>(size_class), 0u);
}

ResolveState::ResolveState(const ResolveShape& shape)
    : slot_of(shape.all_experts(), kNoSlot),
      active_in(shape.all_experts(), kNever),
      guessed(shape.all_experts()),
      slots(shape.all_slots()),
      counters(shape.layers) {
  for (std::uint32_t slot = 0; slot < shape.all_slots(); ++slot)
    addresses.push_back(kSlotAddress * (slot + 1));
  for (std::uint32_t expert = 0; expert < shape.all_experts(); ++expert)
    sources.push_back(0x100000000 + 4096 * std::uint64_t{expert});
}

void ResolveState::put(std::uint32_t expert, std::uint32_t slot, std::uint32_t used_in) {
  slots[slot] = {.owner = expert, .last_use = used_in};
  slot_of[expert] = slot;
}

void ResolveState::guess(std::uint32_t expert, std::uint32_t slot, std::uint32_t in) {
  put(expert, slot, in);
  guessed[expert] = 1;
}

std::vector<ExpectedJob> ResolveOutput::jobs(const std::vector<Job>& list,
                                             std::size_t count) const {
  std::vector<ExpectedJob> found;
  for (const Job& job : std::span(list).first(count)) {
    if (job.rows == 0) continue;
    const auto first = x_rows.begin() + job.begin;
    found.push_back({job.matrices[0], job.expert, {first, first + job.rows}});
  }
  return found;
}

ResolveOutput resolve(const TestDevice* on, const ResolveShape& shape, const ResolveInput& input,
                      ResolveState& state) {
  return call<ResolveMemory>(on, shape, input, state, [&](const ResolveTask& task) {
    if (on == nullptr)
      resolve_scalar(task);
    else
      on->kernels->resolve(task, on->stream->native());
  });
}

ResolveOutput route_and_resolve(const TestDevice& on, const ResolveShape& shape,
                                const ResolveInput& input, const RouteTask& route,
                                ResolveState& state) {
  return call<ResolveMemory>(&on, shape, input, state, [&](const ResolveTask& task) {
    on.kernels->route_and_resolve({.route = route, .resolve = task}, on.stream->native());
  });
}

PrefetchOutput prefetch(const TestDevice* on, const ResolveShape& shape, const PrefetchInput& input,
                        ResolveState& state) {
  return call<PrefetchMemory>(on, shape, input, state, [&](const PrefetchTask& task) {
    if (on == nullptr)
      prefetch_scalar(task);
    else
      on->kernels->prefetch(task, on->stream->native());
  });
}

}  // namespace hearth::kernels
