#include "profiler/expert_profile.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"

namespace hearth::profiler {
namespace {

constexpr std::size_t kNoLayer = std::numeric_limits<std::size_t>::max();

// Of a step of many rows only the first ones tell which experts go together: a prompt of hundreds
// of tokens has shown that long before its end.
constexpr std::size_t kPairedRows = 64;

// `recent` is kept scaled by the growing weight of a new use, so that a token touches only the
// experts it chose. Past this weight, every 64 half-lives, all are scaled back.
constexpr double kMostWeight = 0x1p64;

// What one token does to `recent`.
struct TokenAge {
  double growth;  // of the weight of a new use
  double use;     // worth of a use
};

TokenAge age_of_token(bool generated) {
  static const double generated_growth = std::exp2(1 / kHalfLife);
  static const double prompt_growth = std::exp2(kPromptWeight / kHalfLife);
  return generated ? TokenAge{generated_growth, 1} : TokenAge{prompt_growth, kPromptWeight};
}

// One layer, as it is counted.
struct RecordedLayer {
  std::vector<double> recent;        // times `weight`
  std::vector<std::uint64_t> used;   // number of the token that last used an expert
  std::vector<std::uint32_t> pairs;  // [experts][experts of the next layer]; empty for the last
  std::size_t next_experts = 0;
  double weight = 1;
  std::uint64_t tokens = 0;
  std::uint64_t sequence_begin = 0;  // tokens before the first one of the sequence
  std::uint64_t next_position = 0;

  RecordedLayer(const LayerProfile& layer, std::size_t experts_of_next)
      : used(layer.experts.size()),
        pairs(layer.experts.size() * experts_of_next),
        next_experts(experts_of_next) {
    for (std::size_t i = 0; i < layer.experts.size(); ++i) {
      recent.push_back(layer.experts[i].recent);
      for (const Partner& partner : layer.experts[i].partners)
        if (partner.count != 0) pair(i, partner.expert) = as_count(partner.count);
    }
  }

  static std::uint32_t as_count(std::uint64_t count) {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(count, std::numeric_limits<std::uint32_t>::max()));
  }

  std::uint32_t& pair(std::size_t expert, std::size_t next) {
    CHECK_LT(next, next_experts);
    return pairs[expert * next_experts + next];
  }

  void begin_rows(const Routing& routing) {
    if (routing.position != next_position) sequence_begin = tokens;
    next_position = std::uint64_t{routing.position} + routing.rows;
  }

  void begin_token(const TokenAge& age) {
    ++tokens;
    weight *= age.growth;
    if (weight < kMostWeight) return;
    for (double& value : recent) value /= weight;
    weight = 1;
  }

  // `count`: tokens that chose the expert, more than which cannot have chosen both.
  std::array<Partner, kPartners> partners_of(std::size_t expert, std::uint64_t count) const {
    std::array<Partner, kPartners> most;
    for (std::size_t next = 0; next < next_experts; ++next) {
      const std::uint64_t together = pairs[expert * next_experts + next];
      const Partner partner{static_cast<std::uint16_t>(next), std::min(together, count)};
      if (partner.count <= most.back().count) continue;
      const auto place = std::find_if(most.begin(), most.end(), [&](const Partner& other) {
        return other.count < partner.count;
      });
      std::copy_backward(place, most.end() - 1, most.end());
      *place = partner;
    }
    return most;
  }
};

std::size_t find_or_add(std::vector<Workload>& workloads, const std::string& label) {
  const auto found = std::find_if(workloads.begin(), workloads.end(),
                                  [&](const Workload& one) { return one.label == label; });
  if (found != workloads.end()) return static_cast<std::size_t>(found - workloads.begin());
  workloads.push_back({label, 0, 0});
  return workloads.size() - 1;
}

}  // namespace

double rounded_recent(double recent) { return std::round(recent * 1e4) / 1e4; }

std::uint64_t LayerProfile::uses() const {
  std::uint64_t sum = 0;
  for (const ExpertHistory& expert : experts) sum += expert.count;
  return sum;
}

std::uint64_t ExpertProfile::tokens() const {
  std::uint64_t sum = 0;
  for (const Workload& workload : workloads) sum += workload.tokens;
  return sum;
}

const LayerProfile* ExpertProfile::layer(LayerIndex index) const {
  const auto found = std::find_if(layers.begin(), layers.end(),
                                  [&](const LayerProfile& one) { return one.layer == index; });
  return found == layers.end() ? nullptr : &*found;
}

std::vector<float> ExpertProfile::popularity() const {
  const ExpertSpace space{model.layers, model.experts_per_layer};
  std::vector<float> uses_per_token(space.size());
  for (const LayerProfile& layer : layers) {
    double sum = 0;
    for (const ExpertHistory& expert : layer.experts) sum += expert.recent;
    if (sum == 0) continue;
    for (std::size_t i = 0; i < layer.experts.size(); ++i) {
      const ExpertId id{layer.layer, static_cast<std::uint16_t>(i)};
      const double expected = layer.experts[i].recent / sum * model.experts_used;
      uses_per_token[space.flat(id)] = static_cast<float>(std::min(expected, 1.0));
    }
  }
  return uses_per_token;
}

ExpertProfile empty_profile(const ModelIdentity& model,
                            const std::vector<std::uint32_t>& experts_of_layer) {
  CHECK_EQ(experts_of_layer.size(), model.layers);
  ExpertProfile profile;
  profile.model = model;
  for (std::size_t i = 0; i < experts_of_layer.size(); ++i) {
    CHECK_LE(experts_of_layer[i], model.experts_per_layer);
    if (experts_of_layer[i] == 0) continue;
    LayerProfile& layer = profile.layers.emplace_back();
    layer.layer = static_cast<LayerIndex>(i);
    layer.experts.resize(experts_of_layer[i]);
  }
  return profile;
}

bool same_shape(const ExpertProfile& first, const ExpertProfile& second) {
  return std::equal(first.layers.begin(), first.layers.end(), second.layers.begin(),
                    second.layers.end(), [](const LayerProfile& a, const LayerProfile& b) {
                      return a.layer == b.layer && a.experts.size() == b.experts.size();
                    });
}

struct ProfileRecorder::State {
  ExpertProfile profile;  // `recent` and the partners are set when it is asked for
  std::size_t workload = 0;
  std::vector<std::size_t> nth_of_layer;  // [blocks], kNoLayer where there are no experts
  std::vector<RecordedLayer> layers;

  // What the layer before chose, to be paired with.
  std::vector<std::uint16_t> previous;  // [rows][top-k]
  std::size_t previous_layer = kNoLayer;
  std::size_t previous_rows = 0;

  State(ExpertProfile continued, const std::string& label);
  void count(std::size_t nth, const Routing& routing);
  void pair_with_previous(std::size_t nth, const Routing& routing);
};

ProfileRecorder::State::State(ExpertProfile continued, const std::string& label)
    : profile(std::move(continued)),
      workload(find_or_add(profile.workloads, label)),
      nth_of_layer(profile.model.layers, kNoLayer),
      previous(kPairedRows * profile.model.experts_used) {
  const std::vector<LayerProfile>& all = profile.layers;
  for (std::size_t nth = 0; nth < all.size(); ++nth) {
    CHECK_LT(all[nth].layer, nth_of_layer.size());
    nth_of_layer[all[nth].layer] = nth;
    layers.emplace_back(all[nth], nth + 1 < all.size() ? all[nth + 1].experts.size() : 0);
  }
}

void ProfileRecorder::State::count(std::size_t nth, const Routing& routing) {
  RecordedLayer& recorded = layers[nth];
  LayerProfile& counted = profile.layers[nth];
  const TokenAge age = age_of_token(routing.rows == 1);
  recorded.begin_rows(routing);
  for (std::size_t row = 0; row < routing.rows; ++row) {
    recorded.begin_token(age);
    const double worth = recorded.weight * age.use;
    for (const std::uint16_t expert :
         routing.experts.subspan(row * routing.experts_per_row, routing.experts_per_row)) {
      CHECK_LT(expert, counted.experts.size());
      const std::uint64_t last = std::exchange(recorded.used[expert], recorded.tokens);
      if (last == recorded.tokens) continue;  // twice by one token
      ++counted.experts[expert].count;
      recorded.recent[expert] += worth;
      if (last <= recorded.sequence_begin) continue;
      const auto bucket = static_cast<std::size_t>(std::bit_width(recorded.tokens - last) - 1);
      ++counted.reuse[std::min(bucket, kReuseBuckets - 1)];
    }
  }
}

void ProfileRecorder::State::pair_with_previous(std::size_t nth, const Routing& routing) {
  const std::size_t rows = std::min<std::size_t>(routing.rows, kPairedRows);
  const std::size_t top_k = routing.experts_per_row;
  if (nth > 0 && previous_layer == nth - 1 && previous_rows == rows) {
    RecordedLayer& before = layers[previous_layer];
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t i = 0; i < top_k; ++i)
        for (std::size_t k = 0; k < top_k; ++k) {
          std::uint32_t& pairs =
              before.pair(previous[row * top_k + i], routing.experts[row * top_k + k]);
          if (pairs != std::numeric_limits<std::uint32_t>::max()) ++pairs;
        }
  }
  std::copy_n(routing.experts.begin(), rows * top_k, previous.begin());
  previous_layer = nth;
  previous_rows = rows;
}

ProfileRecorder::ProfileRecorder(ExpertProfile profile, const std::string& workload)
    : state_(std::make_unique<State>(std::move(profile), workload)) {}
ProfileRecorder::~ProfileRecorder() = default;
ProfileRecorder::ProfileRecorder(ProfileRecorder&&) noexcept = default;
ProfileRecorder& ProfileRecorder::operator=(ProfileRecorder&&) noexcept = default;

void ProfileRecorder::observe(const Routing& routing) {
  CHECK_LT(routing.layer, state_->nth_of_layer.size());
  CHECK_EQ(routing.experts_per_row, state_->profile.model.experts_used);
  CHECK_EQ(routing.experts.size(), std::size_t{routing.rows} * routing.experts_per_row);
  const std::size_t nth = state_->nth_of_layer[routing.layer];
  CHECK_NE(nth, kNoLayer);
  if (nth == 0) {
    Workload& workload = state_->profile.workloads[state_->workload];
    workload.tokens += routing.rows;
    if (routing.rows == 1) ++workload.generated;
  }
  state_->count(nth, routing);
  state_->pair_with_previous(nth, routing);
}

ExpertProfile ProfileRecorder::profile() const {
  ExpertProfile profile = state_->profile;
  for (std::size_t nth = 0; nth < profile.layers.size(); ++nth) {
    const RecordedLayer& recorded = state_->layers[nth];
    std::vector<ExpertHistory>& experts = profile.layers[nth].experts;
    for (std::size_t i = 0; i < experts.size(); ++i) {
      const double recent = recorded.recent[i] / recorded.weight;
      experts[i].recent = std::min(rounded_recent(recent), static_cast<double>(experts[i].count));
      experts[i].partners = recorded.partners_of(i, experts[i].count);
    }
  }
  return profile;
}

}  // namespace hearth::profiler
