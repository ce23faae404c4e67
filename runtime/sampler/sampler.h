// Logits → the next token. Names, defaults and order are llama.cpp's: penalties, top-k, top-p,
// min-p, temperature, then a draw.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/ids.h"

namespace hearth::runtime {

struct SamplerOptions {
  std::optional<std::uint64_t> seed;  // none: a random one
  float temperature = 0.80f;          // 0 or less: greedy
  std::int32_t top_k = 40;            // 0 or less: off
  float top_p = 0.95f;                // 1: off
  float min_p = 0.05f;                // 0: off
  float repeat_penalty = 1.00f;       // 1: off
  std::int32_t repeat_last_n = 64;    // 0: off, -1: the whole context
  float presence_penalty = 0.00f;
  float frequency_penalty = 0.00f;
};

class Sampler {
 public:
  // `vocabulary` sizes all buffers; sampling allocates nothing.
  Sampler(const SamplerOptions& options, std::size_t vocabulary, std::size_t context);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  TokenId sample(std::span<const float> logits);  // all finite; does not accept
  void accept(TokenId token);                     // a prompt token, or the one that was sampled
  // Where the random draws stand, to go on from there in another sampler.
  std::uint64_t random_state() const;
  void resume(std::uint64_t random_state);
  std::uint64_t seed() const;  // the one in use

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The largest logit, the smallest id among equals.
TokenId argmax(std::span<const float> logits);

}  // namespace hearth::runtime
