#include "runtime/sampler/sampler.h"

namespace hearth::runtime {

TokenId argmax(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best]) best = i;
  return static_cast<TokenId>(best);
}

}  // namespace hearth::runtime
