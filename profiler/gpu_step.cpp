#include "profiler/gpu_step.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hearth::profiler {
namespace {

// The chance of each number of successes in `count` trials.
std::vector<double> binomial(std::uint32_t count, double chance) {
  std::vector<double> result(count + 1, 0.0);
  if (chance <= 0 || chance >= 1) {
    result[chance <= 0 ? 0 : count] = 1;
    return result;
  }
  for (std::uint32_t k = 0; k <= count; ++k)
    result[k] =
        std::exp(std::lgamma(count + 1.0) - std::lgamma(k + 1.0) - std::lgamma(count - k + 1.0) +
                 k * std::log(chance) + (count - k) * std::log1p(-chance));
  return result;
}

LaneCounts split(const GpuLayer& layer, std::uint32_t hits, std::uint32_t misses, MissPath path) {
  if (path == MissPath::kCopy) return {.hits = hits, .fetched = misses};
  if (path == MissPath::kCpu) return {.hits = hits, .on_cpu = misses};
  return split_misses(layer.lanes, layer.expert_bytes, hits, misses);
}

}  // namespace

GpuLayerTime expected_layer(const GpuLayer& layer, const TierHits& hits, MissPath path) {
  const std::uint32_t used = layer.experts_used;
  const double bytes = layer.expert_bytes;
  const std::vector<double> misses = binomial(used, 1 - hits.vram);
  const double disk_share = hits.disk > 0 ? std::min(1.0, hits.disk / (1 - hits.vram)) : 0;
  GpuLayerTime time;
  for (std::uint32_t missed = 0; missed <= used; ++missed) {
    const std::vector<double> from_disk = binomial(missed, disk_share);
    for (std::uint32_t read = 0; read <= missed; ++read) {
      const double chance = misses[missed] * from_disk[read];
      if (chance == 0) continue;
      const LaneCounts counts = split(layer, used - missed, missed - read, path);
      double seconds = layer_seconds(layer.lanes, bytes, counts);
      if (read > 0)
        seconds = std::max(seconds, layer.disk_latency + read * bytes / layer.disk_rate) +
                  bytes / layer.lanes.cpu_rate;
      time.seconds += chance * seconds;
      time.join_seconds += chance * (counts.on_cpu > 0 ? layer.lanes.cpu_join : 0);
      time.hit_bytes += chance * (used - missed) * bytes;
      time.copied_bytes += chance * counts.fetched * bytes;
      time.cpu_bytes += chance * (missed - counts.fetched) * bytes;
      time.disk_bytes += chance * read * bytes;
    }
  }
  return time;
}

}  // namespace hearth::profiler
