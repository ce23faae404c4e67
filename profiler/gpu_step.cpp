#include "profiler/gpu_step.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

struct Split {
  double seconds = std::numeric_limits<double>::infinity();
  double join = 0;
  std::uint32_t copied = 0;
};

Split split_of(const GpuLayer& layer, std::uint32_t hits, std::uint32_t copied,
               std::uint32_t on_cpu) {
  const double bytes = layer.expert_bytes;
  const double copy = copied * bytes / layer.link_rate;
  const double cpu = on_cpu * bytes / layer.cpu_rate;
  const bool both = copied > 0 && on_cpu > 0;
  const double memory = both ? (copied + on_cpu) * bytes / layer.both_rate : 0;
  const double join = on_cpu > 0 ? layer.join : 0;
  const double side_by_side = std::max({hits * bytes / layer.gpu_rate, copy, cpu, memory});
  return {.seconds = side_by_side + copied * bytes / layer.gpu_rate + join,
          .join = join,
          .copied = copied};
}

Split best_split(const GpuLayer& layer, std::uint32_t hits, std::uint32_t misses, MissPath path) {
  if (path == MissPath::kCopy) return split_of(layer, hits, misses, 0);
  if (path == MissPath::kCpu) return split_of(layer, hits, 0, misses);
  Split best;
  for (std::uint32_t copied = 0; copied <= misses; ++copied) {
    const Split split = split_of(layer, hits, copied, misses - copied);
    if (split.seconds < best.seconds) best = split;
  }
  return best;
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
      const Split split = best_split(layer, used - missed, missed - read, path);
      double seconds = split.seconds;
      if (read > 0)
        seconds = std::max(seconds, layer.disk_latency + read * bytes / layer.disk_rate) +
                  bytes / layer.cpu_rate;
      time.seconds += chance * seconds;
      time.join_seconds += chance * split.join;
      time.hit_bytes += chance * (used - missed) * bytes;
      time.copied_bytes += chance * split.copied * bytes;
      time.cpu_bytes += chance * (missed - split.copied) * bytes;
      time.disk_bytes += chance * read * bytes;
    }
  }
  return time;
}

}  // namespace hearth::profiler
