#include "runtime/blocks/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace hearth::runtime {

void top_k(std::span<const float> scores, std::span<std::uint16_t> chosen) {
  CHECK_LE(chosen.size(), scores.size());
  const auto value = [&](std::uint16_t index) {
    return std::isnan(scores[index]) ? -std::numeric_limits<float>::infinity() : scores[index];
  };
  std::size_t count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto id = static_cast<std::uint16_t>(i);
    if (count == chosen.size() && !(value(id) > value(chosen[count - 1]))) continue;
    std::size_t place = count < chosen.size() ? count++ : count - 1;
    for (; place > 0 && value(id) > value(chosen[place - 1]); --place)
      chosen[place] = chosen[place - 1];
    chosen[place] = id;
  }
}

void normalized_weights(std::span<const float> probabilities, std::span<const std::uint16_t> chosen,
                        std::span<float> weights) {
  float sum = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) sum += weights[i] = probabilities[chosen[i]];
  sum = std::max(sum, 0x1p-14f);
  for (float& weight : weights) weight /= sum;
}

}  // namespace hearth::runtime
