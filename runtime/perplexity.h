// Perplexity of a text, by the method of llama.cpp's llama-perplexity, so that figures compare.
//
// The tokens are cut into chunks that do not overlap and fill the context; what is left over is not
// used. Each chunk is evaluated from an empty timeline, and of its second half every token is
// scored by what the model predicted for it from those before it in the chunk. In a model that
// begins texts with a BOS token, BOS takes the place of the first token of every chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/function_ref.h"
#include "base/ids.h"
#include "runtime/session.h"

namespace hearth::runtime {

struct PerplexityOptions {
  std::uint32_t context = 512;               // tokens of a chunk, at least 4
  std::optional<std::uint32_t> most_chunks;  // of the text; all by default
  std::optional<TokenId> bos;                // put before every chunk
};

// Mean negative log-likelihood of the tokens scored so far, and what follows from it.
class PerplexityEstimate {
 public:
  void add(double negative_log_likelihood);

  std::uint64_t tokens() const { return tokens_; }
  double value() const;           // exp(mean)
  double standard_error() const;  // of the value, to first order; 0 for fewer than two tokens

 private:
  std::uint64_t tokens_ = 0;
  double sum_ = 0, sum_of_squares_ = 0;
};

// -log softmax(logits)[token], in double.
double negative_log_likelihood(std::span<const float> logits, TokenId token);

// Evaluates the whole chunks of `tokens` (at most options.most_chunks) and hands out the
// logits at every scored position with the token that follows it in the text. After every chunk,
// `go_on` says whether to go on. Throws Error(kUsage) for chunks that do not fit the context.
void score_chunks(Session& session, std::span<const TokenId> tokens,
                  const PerplexityOptions& options,
                  FunctionRef<void(std::span<const float> logits, TokenId next)> score,
                  FunctionRef<bool(std::uint32_t chunk)> go_on);

// How many those are. Throws Error(kBadInput) for a text of less than two.
std::uint32_t chunk_count(std::span<const TokenId> tokens, const PerplexityOptions& options);

// `progress` sees the estimate after every chunk, numbered from 0; false ends the measurement
// there. Throws what score_chunks() and chunk_count() do.
PerplexityEstimate perplexity(
    Session& session, std::span<const TokenId> tokens, const PerplexityOptions& options,
    FunctionRef<bool(std::uint32_t chunk, const PerplexityEstimate& so_far)> progress);

}  // namespace hearth::runtime
