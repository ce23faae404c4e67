#include "benchmarks/support/gpu_lane_cases.h"

#include <fmt/format.h>

#include <string>
#include <vector>

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kExperts = 128;  // of a layer
constexpr std::uint32_t kStep = 2;  // the one that is resolved; what is in slots is of the first
constexpr std::uint32_t kFetches = 4;

SlotLayout expert_layout(const GpuBench& bench) {
  const std::uint32_t ff = bench.sizes().expert_ff, columns = bench.sizes().columns;
  const auto bytes = [](std::uint32_t rows, std::uint32_t row_columns) {
    return WeightMatrix{WeightFormat::kQ4_K, rows, row_columns, nullptr}.bytes();
  };
  return slot_layout(bytes(ff, columns), bytes(ff, columns), bytes(columns, ff));
}

// Experts 0, 1, 2 ... of the first layers are in the slots, and those of the layers behind them in
// RAM, of which every launch wants others. Tables change while steps run: a copy begins each graph.
class TablesBench {
 public:
  explicit TablesBench(GpuBench& bench)
      : bench_(bench),
        slots_(bench.sizes().slots / kExperts * kExperts),
        used_(bench.sizes().experts_used) {
    std::vector<std::uint32_t> slot_of(experts(), kNoSlot);
    std::vector<ExpertSlot> slots(slots_);
    for (std::uint32_t s = 0; s < slots_; ++s) {
      slot_of[s] = s;
      slots[s] = {.owner = s, .last_use = kStep - 1};
    }
    pristine_slot_of_ = bench.carve(slot_of);
    pristine_slots_ = bench.carve(slots);
    const ExpertSource source{{bench.walk(0, 1), bench.walk(0, 1), bench.walk(0, 1)}};
    task_.tables = {.slot_of = bench.carve(slot_of),
                    .active_in = bench.carve(std::vector<std::uint32_t>(experts(), kNever)),
                    .guessed = bench.carve(std::vector<std::uint32_t>(experts(), 0)),
                    .slots = bench.carve(slots),
                    .addresses = bench.carve(std::vector<std::byte*>(slots_, bench.walk(0, 1))),
                    .sources = bench.carve(std::vector<ExpertSource>(experts(), source)),
                    .counters = bench.carve(std::vector<ExpertCounters>(layers()))};
    task_.step = bench.carve(std::vector<std::uint32_t>{kStep});
    task_.experts = kExperts;
    task_.slots = slots_;
    task_.layout = expert_layout(bench);
    task_.protected_count = kExperts;
    task_.all_experts = experts();
    task_.rows = 1;
    task_.experts_used = used_;
    task_.weights = bench.carve<float>(used_);
    task_.most_fetches = used_;
    task_.hits = bench.carve<ExpertJob>(used_);
    task_.fetched = bench.carve<ExpertJob>(used_);
    task_.fetches = bench.carve<ExpertFetch>(used_);
    task_.fetch_count = bench.carve<std::uint32_t>(1);
    task_.host_jobs = bench.carve<LaneJob>(used_);
    task_.host_count = bench.carve<std::uint32_t>(1);
    task_.x_rows = bench.carve<std::uint32_t>(used_);
    task_.x_weights = bench.carve<float>(used_);
    task_.results = bench.carve<const float*>(used_);
  }

  void measure_resolve(const std::string& name, bool resident, bool fetched) {
    std::vector<std::uint32_t> limits(used_ + 1);
    for (std::uint32_t n = 0; n <= used_; ++n) limits[n] = fetched ? n : 0;
    task_.fetch_limits = bench_.carve(limits);
    measure(name, resident, [&](std::uint32_t layer, const std::uint16_t* ids) {
      task_.ids = ids;
      choose(layer);
      bench_.kernels().resolve(task_, bench_.stream());
    });
  }

  // Whatever the router chooses is there.
  void measure_route_and_resolve(const std::string& name) {
    task_.fetch_limits = bench_.carve(std::vector<std::uint32_t>(used_ + 1));
    const RouteTask route{.spec = {.experts = kExperts, .used = used_},
                          .rows = 1,
                          .logits = bench_.carve<float>(kExperts),
                          .logit_stride = kExperts,
                          .ids = bench_.carve<std::uint16_t>(used_),
                          .weights = bench_.carve<float>(used_)};
    measure(name, true, [&](std::uint32_t layer, const std::uint16_t*) {
      choose(layer);
      bench_.kernels().route_and_resolve({.route = route, .resolve = task_}, bench_.stream());
    });
  }

  // A step later: what was used in the step before is not given away.
  void measure_prefetch(const std::string& name, bool resident) {
    PrefetchTask task{.tables = task_.tables,
                      .step = bench_.carve(std::vector<std::uint32_t>{kStep + 1}),
                      .experts = kExperts,
                      .slots = slots_,
                      .rows = 1,
                      .experts_used = used_,
                      .limits = bench_.carve(std::vector<std::uint32_t>{used_}),
                      .fetch_count = bench_.carve(std::vector<std::uint32_t>{0}),
                      .most = used_,
                      .fetches = task_.fetches,
                      .count = bench_.carve<std::uint32_t>(1)};
    measure(name, resident, [&](std::uint32_t layer, const std::uint16_t* ids) {
      task.ids = ids;
      task.layer = layer;
      task.first_expert = layer * kExperts;
      bench_.kernels().prefetch(task, bench_.stream());
    });
  }

 private:
  void choose(std::uint32_t layer) {
    task_.layer = layer;
    task_.first_expert = layer * kExperts;
    task_.protected_first = (task_.first_expert + kExperts) % experts();
  }
  void measure(const std::string& name, bool resident,
               FunctionRef<void(std::uint32_t layer, const std::uint16_t* ids)> enqueue) {
    ids_.resize(std::size_t{bench_.sizes().most_repeats} * used_);
    for (std::size_t i = 0; i < ids_.size(); ++i)
      ids_[i] = static_cast<std::uint16_t>(i % kExperts);
    const std::uint16_t* const ids = bench_.carve(ids_);
    const std::uint32_t first_layer = resident ? 0 : slots_ / kExperts;
    const std::uint32_t launches_of_layer = kExperts / used_;
    bench_.measure({name, "", 1}, 0, [&](std::uint32_t i) {
      if (i == 0) restore();
      enqueue(first_layer + i / launches_of_layer % (slots_ / kExperts),
              ids + std::size_t{i} * used_);
    });
  }

  std::uint32_t experts() const { return 2 * slots_; }
  std::uint32_t layers() const { return experts() / kExperts; }
  void restore() {
    bench_.enqueue_copy(task_.tables.slot_of, pristine_slot_of_,
                        Bytes(experts() * sizeof(std::uint32_t)));
    bench_.enqueue_copy(task_.tables.slots, pristine_slots_, Bytes(slots_ * sizeof(ExpertSlot)));
  }

  GpuBench& bench_;
  const std::uint32_t slots_, used_;
  ResolveTask task_;
  std::vector<std::uint16_t> ids_;
  const std::uint32_t* pristine_slot_of_ = nullptr;
  const ExpertSlot* pristine_slots_ = nullptr;
};

// What was carved goes with each measurement.
void measure_tables(GpuBench& bench) {
  TablesBench(bench).measure_resolve("resolve, all hits", true, false);
  TablesBench(bench).measure_resolve("resolve, all to the CPU", false, false);
  TablesBench(bench).measure_resolve("resolve, all fetched", false, true);
  TablesBench(bench).measure_route_and_resolve("route_and_resolve, all hits");
  TablesBench(bench).measure_prefetch("prefetch, all hits", true);
  TablesBench(bench).measure_prefetch("prefetch, all absent", false);
}

void measure_gather(GpuBench& bench, std::uint32_t blocks) {
  const SlotLayout layout = expert_layout(bench);
  const double bytes = 1.0 * kFetches * static_cast<double>(layout.size);
  const std::uint32_t launches = bench.repeats(bytes);
  std::vector<ExpertFetch> fetches;
  for (std::uint64_t i = 0; i < std::uint64_t{launches} * kFetches; ++i) {
    const std::byte* const from = bench.walk_host(i, layout.size);
    ExpertFetch fetch{.to = bench.walk(i, layout.size)};
    for (std::uint32_t part = 0; part < kExpertParts; ++part)
      fetch.from.parts[part] = from + layout.offsets[part];
    fetches.push_back(fetch);
  }
  GatherTask task{.fetches = bench.carve(fetches),
                  .count = bench.carve(std::vector<std::uint32_t>{kFetches}),
                  .most = kFetches,
                  .layout = layout,
                  .blocks = blocks};
  const ExpertFetch* const all = task.fetches;
  bench.measure({fmt::format("gather, {} blocks", blocks), "Q4_K", 1},
                {.bytes = bytes, .over_link = true}, [&](std::uint32_t i) {
                  task.fetches = all + std::size_t{i} * kFetches;
                  bench.kernels().gather(task, bench.stream());
                });
}

// The doorbell is rung, and nobody answers.
void measure_hand_over(GpuBench& bench) {
  const LaneShape shape{
      .rows = 1, .experts_used = bench.sizes().experts_used, .embedding = bench.sizes().columns};
  const HandOverTask task{
      .jobs = bench.carve(std::vector<LaneJob>(shape.pairs(), {.expert = 1, .rows = 1})),
      .job_count = bench.carve(std::vector<std::uint32_t>{2}),
      .x_rows = bench.carve(std::vector<std::uint32_t>(shape.pairs(), 0)),
      .x = QuantizeTask{.to = bench.activations(1, shape.embedding)}.result(),
      .to = lane_block_at(bench.walk_host(0, lane_block_bytes(shape).count), shape),
      .stamp = 1};
  bench.measure({"hand_over", "", 1}, 0,
                [&](std::uint32_t) { bench.kernels().hand_over(task, bench.stream()); });
}

}  // namespace

void measure_lanes(GpuBench& bench) {
  measure_tables(bench);
  for (const std::uint32_t blocks : {16u, GatherTask().blocks, 64u}) measure_gather(bench, blocks);
  measure_hand_over(bench);
}

}  // namespace hearth::kernels
