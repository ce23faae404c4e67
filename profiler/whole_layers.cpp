#include "profiler/whole_layers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "profiler/profile_skew.h"

namespace hearth::profiler {
namespace {

// Layers of the profile, those first that are served worst from caches.
std::vector<std::size_t> by_spread(const ExpertProfile& profile) {
  std::vector<double> spread;
  for (const LayerProfile& layer : profile.layers) {
    const LayerSkew skew = skew_of(layer);
    spread.push_back(static_cast<double>(skew.for_nine_tenths) / skew.experts);
  }
  std::vector<std::size_t> order(spread.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return spread[a] != spread[b] ? spread[a] > spread[b] : a > b;
  });
  return order;
}

// The fewest of the first blocks that must stay on the CPU for the rest to fit.
std::uint32_t fewest_on_cpu(const ExpertProfile& profile, std::span<const Bytes> layer_bytes,
                            Bytes budget) {
  Bytes on_gpu;
  for (std::size_t nth = layer_bytes.size(); nth > 0; --nth) {
    on_gpu += layer_bytes[nth - 1];
    if (on_gpu > budget) return profile.layers[nth - 1].layer + 1u;
  }
  return 0;
}

}  // namespace

WholeLayers place_whole_layers(const ExpertProfile& profile, std::span<const Bytes> layer_bytes,
                               Bytes budget) {
  CHECK_EQ(layer_bytes.size(), profile.layers.size());
  WholeLayers placement;
  for (const std::size_t nth : by_spread(profile)) {
    const bool fits = layer_bytes[nth] <= budget - placement.gpu;
    (fits ? placement.gpu : placement.cpu) += layer_bytes[nth];
    (fits ? placement.on_gpu : placement.on_cpu).push_back(profile.layers[nth].layer);
  }
  std::sort(placement.on_gpu.begin(), placement.on_gpu.end());
  std::sort(placement.on_cpu.begin(), placement.on_cpu.end());
  placement.n_cpu_moe = fewest_on_cpu(profile, layer_bytes, budget);
  return placement;
}

std::string llama_arguments(const WholeLayers& placement) {
  const std::size_t layers = placement.on_gpu.size() + placement.on_cpu.size();
  if (placement.on_cpu.empty())
    return fmt::format("# The experts of all {} layers fit the GPU:\n-ngl 999\n", layers);
  if (placement.on_gpu.empty())
    return "# The experts of no layer fit the GPU:\n-ngl 999 --cpu-moe\n";
  return fmt::format(
      "# On the GPU the experts of {} of {} layers, those whose uses spread most:\n"
      "-ngl 999 -ot \"blk\\.({})\\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU\"\n"
      "# Simpler, but by position alone: the experts of the first {} blocks on the CPU.\n"
      "-ngl 999 --n-cpu-moe {}\n",
      placement.on_gpu.size(), layers, fmt::join(placement.on_cpu, "|"), placement.n_cpu_moe,
      placement.n_cpu_moe);
}

}  // namespace hearth::profiler
