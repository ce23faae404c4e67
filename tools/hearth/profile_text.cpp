#include "tools/hearth/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "profiler/profile_skew.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

constexpr unsigned kFigureColumns = 44;  // of a row, beside the heat strip

// Uses of each expert per use that an even router would have given it.
std::vector<double> heat_of(const profiler::LayerProfile& layer, bool hottest_first) {
  const double even = static_cast<double>(layer.uses()) /
                      static_cast<double>(std::max<std::size_t>(layer.experts.size(), 1));
  std::vector<double> heat;
  for (const profiler::ExpertHistory& expert : layer.experts)
    heat.push_back(even > 0 ? static_cast<double>(expert.count) / even : 0);
  if (hottest_first) std::sort(heat.begin(), heat.end(), std::greater<>());
  return heat;
}

profiler::ReuseHistogram reuse_of_all(const profiler::ExpertProfile& profile) {
  profiler::ReuseHistogram all{};
  for (const profiler::LayerProfile& layer : profile.layers)
    for (std::size_t b = 0; b < all.size(); ++b) all[b] += layer.reuse[b];
  return all;
}

}  // namespace

void print_heat(const profiler::ExpertProfile& profile, const TerminalTraits& traits,
                bool hottest_first) {
  std::vector<std::vector<double>> rows;
  double hottest = 0;
  for (const profiler::LayerProfile& layer : profile.layers) {
    rows.push_back(heat_of(layer, hottest_first));
    for (const double heat : rows.back()) hottest = std::max(hottest, heat);
  }
  const unsigned room = traits.columns > kFigureColumns + 16 ? traits.columns - kFigureColumns : 16;
  const unsigned cells = std::min(room, profile.model.experts_per_layer);
  const unsigned per_cell = (profile.model.experts_per_layer + cells - 1) / cells;
  fmt::print("heat      full: {:.1f} times the even share{}{}\n", hottest,
             hottest_first ? ", hottest first" : "",
             per_cell > 1 ? fmt::format(", up to {} experts in a cell", per_cell) : std::string());
  fmt::print("          {:{}}  {:>10} {:>10}  {:>6}\n", "", cells, "50 % need", "90 % need",
             "Gini");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const profiler::LayerSkew skew = profiler::skew_of(profile.layers[i]);
    const unsigned used = std::min(cells, static_cast<unsigned>(rows[i].size()));
    fmt::print("layer {:3} {}{:{}}  {:>10} {:>10}  {:6.3f}\n", profile.layers[i].layer,
               heat_strip(rows[i], hottest, cells, traits), "", cells - used,
               fmt::format("{} of {}", skew.for_half, skew.experts), skew.for_nine_tenths,
               skew.gini);
  }
}

void print_reuse(const profiler::ExpertProfile& profile) {
  const profiler::ReuseHistogram buckets = reuse_of_all(profile);
  double all = 0;
  for (const std::uint64_t count : buckets) all += static_cast<double>(count);
  if (all == 0) return;
  fmt::print("reuse     of the repeated uses, ");
  double within = 0;
  for (std::size_t b = 0; b < 7; ++b) {
    within += static_cast<double>(buckets[b]);
    fmt::print("{}{:.0f} % within {}", b == 0 ? "" : ", ", 100 * within / all, (1u << (b + 1)) - 1);
  }
  fmt::print(" tokens\n");
}

void print_curves(const profiler::ExpertProfile& profile) {
  if (profile.curves.empty()) {
    fmt::print("hit rate  unknown: no routing was replayed for this profile\n");
    return;
  }
  fmt::print("hit rate  of {} replayed tokens, with a part of all experts in memory\n            ",
             format_grouped(profile.replayed_tokens));
  for (const profiler::HitPoint& point : profile.curves.front().points)
    fmt::print(" {:>6}", fmt::format("{:.3g} %", 100 * point.share));
  fmt::print("\n");
  for (const profiler::PolicyCurve& curve : profile.curves) {
    fmt::print("{:<12}", curve.policy);
    for (const profiler::HitPoint& point : curve.points)
      fmt::print(" {:6.1f}", 100 * point.hit_rate);
    fmt::print("\n");
  }
}

}  // namespace hearth::tools
