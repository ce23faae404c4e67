// How often every expert of the model was used lately: the part of its layer's tokens that chose
// it, where a token counts half as much after `half_life` further ones. Exponential forgetting
// needs one number for each expert.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace hearth::profiler {

class UseRates {
 public:
  // `kept`: the weight of a token after one more, 2^(-1 / half_life); 1 never forgets nor learns.
  // Begins with `popularity` [space.size()], or knowing nothing where that is empty.
  UseRates(const ExpertSpace& space, float kept, std::span<const float> popularity)
      : experts_(space.experts_per_layer),
        kept_(kept),
        rates_(space.size()),
        filled_(space.layers, popularity.empty() ? 0.0f : 1.0f) {
    std::transform(popularity.begin(), popularity.end(), rates_.begin(),
                   [](float uses) { return std::clamp(uses, 0.0f, 1.0f); });
  }

  void add_token(LayerIndex layer, std::span<const std::uint16_t> chosen) {
    if (kept_ == 1) return;
    float* const rates = rates_.data() + std::size_t{layer} * experts_;
    for (std::uint32_t expert = 0; expert < experts_; ++expert) rates[expert] *= kept_;
    for (const std::uint16_t expert : chosen) rates[expert] += 1 - kept_;
    filled_[layer] = filled_[layer] * kept_ + (1 - kept_);
  }

  // Of a layer's experts, [experts_per_layer]. What was seen so far fills the memory to this part;
  // divided by it, the rates are averages from the first token on.
  std::span<const float> rates(LayerIndex layer) const {
    return std::span(rates_).subspan(std::size_t{layer} * experts_, experts_);
  }
  float filled(LayerIndex layer) const { return filled_[layer]; }

 private:
  std::uint32_t experts_;
  float kept_;
  std::vector<float> rates_;   // [space.size()]
  std::vector<float> filled_;  // per layer
};

}  // namespace hearth::profiler
