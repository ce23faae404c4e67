#include "profiler/step_split.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::profiler {
namespace {

// The link's rate in half octaves around what was measured. Rates under load are off by a factor
// of two at times (a slot with half the lanes, memory that other programs use), rarely by eight.
constexpr int kHalfOctaves = 6;

double transfer(double bytes, BytesPerSecond rate) { return bytes > 0 ? bytes / rate : 0; }

// The machine if its link, and nothing else, were so many times as fast.
LaneCosts with_link(LaneCosts costs, double factor) {
  costs.both_rate += (factor - 1) * costs.link_rate;
  costs.both_rate = std::max(costs.both_rate, costs.cpu_rate);
  costs.link_rate *= factor;
  return costs;
}

FetchTable all_fetched(std::uint32_t used) {
  FetchTable table(used + 1);
  for (std::uint32_t misses = 0; misses <= used; ++misses) table[misses] = misses;
  return table;
}

void append(FetchLadder& ladder, FetchTable table) {
  if (ladder.rungs.empty() || ladder.rungs.back() != table)
    ladder.rungs.push_back(std::move(table));
}

}  // namespace

LaneCosts lane_costs(const GpuMachine& gpu, BytesPerSecond cpu_rate) {
  return {.gpu_rate = gpu.memory_read,
          .link_rate = gpu.host_to_device,
          .cpu_rate = cpu_rate,
          .both_rate = gpu.host_to_device_shared + gpu.cpu_shared,
          .cpu_join = seconds(gpu.join_overhead)};
}

double layer_seconds(const LaneCosts& costs, double expert_bytes, const LaneCounts& counts) {
  const double hits = counts.hits * expert_bytes;
  const double fetched = counts.fetched * expert_bytes;
  const double on_cpu = counts.on_cpu * expert_bytes;
  const bool both = counts.fetched > 0 && counts.on_cpu > 0;
  const double joins =
      (counts.fetched > 0 ? costs.link_join : 0) + (counts.on_cpu > 0 ? costs.cpu_join : 0);
  const double side_by_side = std::max(
      {transfer(hits, costs.gpu_rate), transfer(fetched, costs.link_rate),
       transfer(on_cpu, costs.cpu_rate), both ? transfer(fetched + on_cpu, costs.both_rate) : 0.0});
  return side_by_side + transfer(fetched, costs.gpu_rate) + joins;
}

LaneCounts split_misses(const LaneCosts& costs, double expert_bytes, std::uint32_t hits,
                        std::uint32_t misses) {
  LaneCounts best;
  double soonest = std::numeric_limits<double>::infinity();
  for (std::uint32_t fetched = 0; fetched <= misses; ++fetched) {
    const LaneCounts counts{.hits = hits, .fetched = fetched, .on_cpu = misses - fetched};
    const double seconds = layer_seconds(costs, expert_bytes, counts);
    if (seconds < soonest) best = counts, soonest = seconds;
  }
  return best;
}

FetchTable fetch_table(const LaneCosts& costs, const LayerExperts& experts) {
  FetchTable table;
  for (std::uint32_t misses = 0; misses <= experts.used; ++misses)
    table.push_back(
        split_misses(costs, experts.expert_bytes, experts.used - misses, misses).fetched);
  return table;
}

FetchLadder fetch_ladder(const LaneCosts& costs, const LayerExperts& experts) {
  FetchLadder ladder;
  append(ladder, FetchTable(experts.used + 1, 0));
  for (int step = -kHalfOctaves; step <= kHalfOctaves; ++step) {
    append(ladder, fetch_table(with_link(costs, std::exp2(0.5 * step)), experts));
    if (step == 0) ladder.measured = static_cast<std::uint32_t>(ladder.rungs.size() - 1);
  }
  append(ladder, all_fetched(experts.used));
  return ladder;
}

FetchLadder only_fetches(const LayerExperts& experts) {
  return {.rungs = {all_fetched(experts.used)}};
}

}  // namespace hearth::profiler
