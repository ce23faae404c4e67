#include "profiler/trace_locality.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace hearth::profiler {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// Follows one layer from token to token.
class Follower {
 public:
  Follower(LayerIndex layer, std::uint32_t experts) : last_use_(experts, kNever) {
    result_.layer = layer;
    result_.uses.resize(experts);
    result_.others_between.resize(experts);
  }

  void observe(std::span<const std::uint16_t> row) {
    // All experts of a token are looked up before any is brought in, as in a decoder.
    for (const std::uint16_t expert : row) count(expert);
    for (const std::uint16_t expert : row) make_newest(expert);
    ++token_;
  }

  LayerLocality take() { return std::move(result_); }

 private:
  void count(std::uint16_t expert) {
    ++result_.uses[expert];
    ++result_.total;
    if (last_use_[expert] == kNever) return;
    ++result_
          .reused_after[std::min<std::uint64_t>(token_ - last_use_[expert], kReuseWindow + 1) - 1];
    ++result_.others_between[static_cast<std::size_t>(std::ranges::find(recency_, expert) -
                                                      recency_.begin())];
  }

  void make_newest(std::uint16_t expert) {
    auto position = std::ranges::find(recency_, expert);
    if (position == recency_.end()) position = recency_.insert(position, expert);
    std::rotate(recency_.begin(), position, position + 1);
    last_use_[expert] = token_;
  }

  LayerLocality result_;
  std::vector<std::uint16_t> recency_;  // newest first
  std::vector<std::uint64_t> last_use_;
  std::uint64_t token_ = 0;
};

double part(std::uint64_t count, std::uint64_t total) {
  return total == 0 ? 0 : static_cast<double>(count) / static_cast<double>(total);
}

template <typename Value>
double mean(const std::vector<LayerLocality>& layers, Value value) {
  double sum = 0;
  for (const LayerLocality& layer : layers) sum += static_cast<double>(std::invoke(value, layer));
  return layers.empty() ? 0 : sum / static_cast<double>(layers.size());
}

}  // namespace

std::uint32_t LayerLocality::touched() const {
  return static_cast<std::uint32_t>(
      std::ranges::count_if(uses, [](std::uint64_t count) { return count > 0; }));
}

double LayerLocality::lru_hit_rate(std::uint32_t slots) const {
  const std::size_t reached = std::min<std::size_t>(slots, others_between.size());
  return part(std::accumulate(others_between.begin(),
                              others_between.begin() + static_cast<std::ptrdiff_t>(reached),
                              std::uint64_t{0}),
              total);
}

double LayerLocality::covered(std::uint32_t hottest) const { return covered_by(*this, hottest); }

double LayerLocality::covered_by(const LayerLocality& other, std::uint32_t hottest) const {
  CHECK_EQ(other.uses.size(), uses.size());
  std::vector<std::size_t> order(uses.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(),
                           [&other](std::size_t expert) { return other.uses[expert]; });
  order.resize(std::min<std::size_t>(hottest, order.size()));
  std::uint64_t sum = 0;
  for (const std::size_t expert : order) sum += uses[expert];
  return part(sum, total);
}

std::uint32_t LayerLocality::experts_covering(double wanted) const {
  std::uint64_t sum = 0;
  std::uint32_t experts = 0;
  std::vector<std::uint64_t> descending = uses;
  std::ranges::sort(descending, std::greater());
  for (const std::uint64_t count : descending) {
    if (part(sum, total) >= wanted) break;
    sum += count;
    ++experts;
  }
  return experts;
}

double TraceLocality::reused_within(std::uint32_t tokens) const {
  CHECK_LE(tokens, kReuseWindow);
  return mean(layers, [tokens](const LayerLocality& layer) {
    return part(std::accumulate(layer.reused_after.begin(), layer.reused_after.begin() + tokens,
                                std::uint64_t{0}),
                layer.total);
  });
}

double TraceLocality::lru_hit_rate(std::uint32_t slots_per_layer) const {
  return mean(layers,
              [=](const LayerLocality& layer) { return layer.lru_hit_rate(slots_per_layer); });
}

double TraceLocality::mean_touched() const { return mean(layers, &LayerLocality::touched); }

double TraceLocality::covered(std::uint32_t hottest) const {
  return mean(layers, [=](const LayerLocality& layer) { return layer.covered(hottest); });
}

double TraceLocality::experts_covering(double wanted) const {
  return mean(layers, [=](const LayerLocality& layer) { return layer.experts_covering(wanted); });
}

TraceLocality measure_locality(const RoutingTrace& trace) {
  const TraceHeader& header = trace.header();
  TraceLocality locality;
  for (std::size_t nth = 0; nth < header.layers.size(); ++nth) {
    Follower follower(header.layers[nth].layer, header.layers[nth].experts);
    for (std::size_t step = 0; step < trace.steps(); ++step) {
      const Routing routing = trace.decision(step, nth);
      for (std::uint32_t row = 0; row < routing.rows; ++row)
        follower.observe(routing.experts.subspan(std::size_t{row} * routing.experts_per_row,
                                                 routing.experts_per_row));
    }
    locality.layers.push_back(follower.take());
  }
  return locality;
}

}  // namespace hearth::profiler
