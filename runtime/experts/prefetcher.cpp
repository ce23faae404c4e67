#include "runtime/experts/prefetcher.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "runtime/blocks/router.h"

namespace hearth::runtime {
namespace {

profiler::PrefetchBudget::Config budget_config(const ExpertCatalog& catalog,
                                               std::uint32_t experts_used) {
  profiler::PrefetchBudget::Config config{.experts_per_token = experts_used};
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    if (layer.count > 0)
      config.largest_expert = std::max(config.largest_expert, Bytes(layer.bytes()));
  }
  return config;
}

}  // namespace

Prefetcher::Prefetcher(ExpertStore& store, const Options& options)
    : store_(store),
      options_(options),
      budget_(budget_config(store.catalog(), options.experts_used)) {
  const std::uint32_t experts = store.catalog().space().experts_per_layer;
  votes_.resize(experts);
  chosen_.resize(options.experts_used);
  ranked_.reserve(experts);
}

Prefetcher::Mark Prefetcher::mark() const {
  const profiler::ResidencyCounters& counters = store_.residency().counters();
  return {counters.prefetches, counters.prefetches_used};
}

void Prefetcher::begin_step(std::uint32_t rows) {
  rows_ = rows;
  start_ = mark();
}

bool Prefetcher::wanted() const {
  // A chunk of a prompt uses nearly every expert of a layer, so that a guess is hardly ever wrong.
  return options_.enabled && (rows_ > 1 || budget_.next_layer() > Bytes(0));
}

void Prefetcher::begin_prediction(std::uint32_t experts) {
  CHECK_LE(experts, votes_.size());
  std::fill_n(votes_.begin(), experts, 0u);
  ranked_.clear();
}

void Prefetcher::predict_row(std::span<const float> router_scores, std::uint32_t experts_used) {
  const auto chosen = std::span(chosen_).first(experts_used);
  top_k(router_scores, chosen);
  for (const std::uint16_t expert : chosen)
    if (votes_[expert]++ == 0) ranked_.push_back(expert);
}

void Prefetcher::fetch_predicted(LayerIndex layer) {
  // Equal votes keep their order of appearance, which for one row is that of the scores.
  for (std::size_t i = 1; i < ranked_.size(); ++i)
    for (std::size_t j = i; j > 0 && votes_[ranked_[j]] > votes_[ranked_[j - 1]]; --j)
      std::swap(ranked_[j], ranked_[j - 1]);

  const Bytes each(store_.catalog().layer(layer).bytes());
  std::uint64_t left =
      rows_ > 1 ? std::numeric_limits<std::uint64_t>::max() : budget_.next_layer().count;
  for (const std::uint16_t expert : ranked_) {
    if (left < each.count) return;
    const ExpertId id{layer, expert};
    if (store_.state(id) != profiler::ExpertState::kAbsent) continue;
    if (store_.fetch(id, profiler::FillReason::kPrefetch) != FetchResult::kStarted) return;
    left -= each.count;
  }
}

void Prefetcher::end_step(Nanoseconds step_time) {
  if (!options_.enabled || rows_ != 1) return;
  const Mark now = mark();
  budget_.observe({.step_time = step_time,
                   .issued = static_cast<std::uint32_t>(now.issued - start_.issued),
                   .used = static_cast<std::uint32_t>(now.used - start_.used)});
}

}  // namespace hearth::runtime
