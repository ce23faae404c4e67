#include "profiler/profile_skew.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace hearth::profiler {
namespace {

std::vector<double> ascending_counts(const LayerProfile& layer) {
  std::vector<double> counts;
  for (const ExpertHistory& expert : layer.experts)
    counts.push_back(static_cast<double>(expert.count));
  std::sort(counts.begin(), counts.end());
  return counts;
}

std::uint32_t fewest_for(const std::vector<double>& ascending, double part) {
  const double wanted = part * std::reduce(ascending.begin(), ascending.end());
  double sum = 0;
  std::uint32_t experts = 0;
  for (auto count = ascending.rbegin(); count != ascending.rend() && sum < wanted; ++count) {
    sum += *count;
    ++experts;
  }
  return experts;
}

// Shannon's, as a part of what all experts alike would have.
double entropy_of(const std::vector<double>& counts, double uses) {
  if (counts.size() == 1) return 1;
  double nats = 0;
  for (const double count : counts)
    if (count > 0) nats -= count / uses * std::log(count / uses);
  return nats / std::log(static_cast<double>(counts.size()));
}

// Twice the area between the line of equality and the Lorenz curve.
double gini_of(const std::vector<double>& ascending, double uses) {
  const auto experts = static_cast<double>(ascending.size());
  double weighted = 0;
  for (std::size_t i = 0; i < ascending.size(); ++i)
    weighted += static_cast<double>(i + 1) * ascending[i];
  return 2 * weighted / (experts * uses) - (experts + 1) / experts;
}

}  // namespace

LayerSkew skew_of(const LayerProfile& layer) {
  LayerSkew skew{.layer = layer.layer, .experts = static_cast<std::uint32_t>(layer.experts.size())};
  const auto uses = static_cast<double>(layer.uses());
  if (uses == 0) return skew;
  const std::vector<double> counts = ascending_counts(layer);
  skew.used = static_cast<std::uint32_t>(
      std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; }));
  skew.for_half = fewest_for(counts, 0.5);
  skew.for_nine_tenths = fewest_for(counts, 0.9);
  skew.entropy = entropy_of(counts, uses);
  skew.gini = gini_of(counts, uses);
  // Distances 1, 2-3 and 4-7.
  skew.reused_soon = static_cast<double>(layer.reuse[0] + layer.reuse[1] + layer.reuse[2]) / uses;
  return skew;
}

LayerSkew total_of(std::span<const LayerSkew> layers) {
  LayerSkew total;
  double used_layers = 0;
  for (const LayerSkew& layer : layers) {
    total.experts += layer.experts;
    total.used += layer.used;
    total.for_half += layer.for_half;
    total.for_nine_tenths += layer.for_nine_tenths;
    total.entropy += layer.entropy;
    total.gini += layer.gini;
    total.reused_soon += layer.reused_soon;
    used_layers += layer.used > 0 ? 1 : 0;
  }
  if (used_layers == 0) return total;
  total.entropy /= used_layers;
  total.gini /= used_layers;
  total.reused_soon /= used_layers;
  return total;
}

}  // namespace hearth::profiler
