// A copy of a model whose attention keys have outliers, as those of large trained models have them:
// a few channels of each head many times the size of the others.
//
// The weights of the keys' norm are multiplied by a gain in those channels, and those of the
// queries' norm divided by it, so that every score stays what it was: to the last bit with a gain
// that is a power of two and keys in f32 or bf16. The rotary embedding mixes channel c with
// channel c + half of its size, so that both get the gain. What changes is what rounding the keys
// costs.
#pragma once

#include <cstdint>
#include <string>

namespace hearth::tools {

struct KeyOutliers {
  std::uint32_t channels = 4;  // of a head, an even number
  double gain = 16;
  std::uint64_t seed = 0;  // chooses the channels, anew in every layer
};

// Writes the copy, with the outliers in its name. Throws Error(kUsage) for numbers that make no
// sense for the model and Error(kUnsupported) for a model without norms of queries and keys, or
// whose norms are of something else than a head.
void write_with_key_outliers(const std::string& from, const std::string& to,
                             const KeyOutliers& outliers);

}  // namespace hearth::tools
