// Which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>
#include <span>

namespace hearth::runtime {

// The `chosen.size()` largest scores in descending order, the smaller index among equals. NaN
// scores are never above another, so every chosen id is valid and distinct whatever the scores are.
// chosen.size() <= scores.size().
void top_k(std::span<const float> scores, std::span<std::uint16_t> chosen);

// weights[i] = probabilities[chosen[i]] divided by their sum (at least 2^-14, the smallest normal
// f16, as the models were trained).
void normalized_weights(std::span<const float> probabilities, std::span<const std::uint16_t> chosen,
                        std::span<float> weights);

}  // namespace hearth::runtime
