#include "profiler/profile_compare.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/error.h"

namespace hearth::profiler {
namespace {

// A quantisation moves few choices, so profiles of two of them may be compared.
void check_same_model(const ModelIdentity& first, ModelIdentity second) {
  second.formats = first.formats;
  second.types = first.types;
  second.samples = first.samples;
  const std::optional<std::string> different = difference(second, first);
  if (different)
    throw_error(ErrorCode::kBadInput,
                "compared with the first, the second profile {}; compare profiles of one model",
                *different);
}

std::vector<std::uint64_t> counts_of(const LayerProfile& layer) {
  std::vector<std::uint64_t> counts;
  for (const ExpertHistory& expert : layer.experts) counts.push_back(expert.count);
  return counts;
}

// The most used experts first, of equals the lower number; those never used are left out.
std::vector<std::uint16_t> by_heat(const LayerProfile& layer) {
  std::vector<std::uint16_t> order;
  for (std::size_t i = 0; i < layer.experts.size(); ++i)
    if (layer.experts[i].count > 0) order.push_back(static_cast<std::uint16_t>(i));
  std::sort(order.begin(), order.end(), [&](std::uint16_t a, std::uint16_t b) {
    const std::uint64_t uses_a = layer.experts[a].count, uses_b = layer.experts[b].count;
    return uses_a != uses_b ? uses_a > uses_b : a < b;
  });
  return order;
}

std::span<const std::uint16_t> hottest(const std::vector<std::uint16_t>& order, double share,
                                       std::size_t experts) {
  const auto wanted = static_cast<std::size_t>(std::lround(share * static_cast<double>(experts)));
  return std::span(order).first(std::min(std::max<std::size_t>(wanted, 1), order.size()));
}

bool contains(std::span<const std::uint16_t> set, std::uint16_t expert) {
  return std::find(set.begin(), set.end(), expert) != set.end();
}

double overlap(std::span<const std::uint16_t> first, std::span<const std::uint16_t> second) {
  const auto both = std::count_if(first.begin(), first.end(),
                                  [&](std::uint16_t expert) { return contains(second, expert); });
  return static_cast<double>(both) / static_cast<double>(std::max(first.size(), second.size()));
}

std::vector<std::uint16_t> without(std::span<const std::uint16_t> experts,
                                   std::span<const std::uint16_t> others) {
  std::vector<std::uint16_t> rest;
  for (const std::uint16_t expert : experts)
    if (!contains(others, expert)) rest.push_back(expert);
  return rest;
}

LayerDifference compare_layers(const LayerProfile& first, const LayerProfile& second) {
  const std::size_t experts = first.experts.size();
  const std::vector<std::uint16_t> heat_a = by_heat(first), heat_b = by_heat(second);
  LayerDifference difference{.layer = first.layer};
  difference.divergence = jensen_shannon(counts_of(first), counts_of(second));
  difference.noise =
      static_cast<double>(experts - 1) / 8 *
      (1 / static_cast<double>(first.uses()) + 1 / static_cast<double>(second.uses())) /
      std::numbers::ln2;
  for (std::size_t i = 0; i < kHotShares.size(); ++i)
    difference.hot_overlap[i] =
        overlap(hottest(heat_a, kHotShares[i], experts), hottest(heat_b, kHotShares[i], experts));
  difference.hot_only_in_first =
      without(hottest(heat_a, 0.25, experts), hottest(heat_b, 0.5, experts));
  difference.hot_only_in_second =
      without(hottest(heat_b, 0.25, experts), hottest(heat_a, 0.5, experts));
  return difference;
}

void add_up(ProfileDifference& sum) {
  const auto layers = static_cast<double>(sum.layers.size());
  for (const LayerDifference& layer : sum.layers) {
    sum.divergence += layer.divergence / layers;
    sum.noise += layer.noise / layers;
    for (std::size_t i = 0; i < kHotShares.size(); ++i)
      sum.hot_overlap[i] += layer.hot_overlap[i] / layers;
    sum.hot_only_in_first += layer.hot_only_in_first.size();
    sum.hot_only_in_second += layer.hot_only_in_second.size();
  }
}

}  // namespace

double jensen_shannon(std::span<const std::uint64_t> first, std::span<const std::uint64_t> second) {
  CHECK_EQ(first.size(), second.size());
  const auto total = [](std::span<const std::uint64_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  };
  const double of_first = total(first), of_second = total(second);
  CHECK(of_first > 0 && of_second > 0);
  const auto term = [](double share, double mean) {
    return share == 0 ? 0 : share * std::log2(share / mean);
  };
  double bits = 0;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const double p = static_cast<double>(first[i]) / of_first;
    const double q = static_cast<double>(second[i]) / of_second;
    bits += (term(p, (p + q) / 2) + term(q, (p + q) / 2)) / 2;
  }
  return std::clamp(bits, 0.0, 1.0);  // what rounding adds or takes
}

ProfileDifference compare_profiles(const ExpertProfile& first, const ExpertProfile& second) {
  check_same_model(first.model, second.model);
  ProfileDifference difference;
  if (!same_shape(first, second))
    throw_error(
        ErrorCode::kBadInput,
        "the profiles are of one model but have other layers or experts; record them again");
  for (const LayerProfile& layer : first.layers) {
    const LayerProfile* const other = second.layer(layer.layer);
    if (layer.uses() == 0 || other->uses() == 0)
      difference.unused.push_back(layer.layer);
    else
      difference.layers.push_back(compare_layers(layer, *other));
  }
  if (!difference.layers.empty()) add_up(difference);
  return difference;
}

}  // namespace hearth::profiler
