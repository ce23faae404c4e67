#include "runtime/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {

void PerplexityEstimate::add(double negative_log_likelihood) {
  tokens_ += 1;
  sum_ += negative_log_likelihood;
  sum_of_squares_ += negative_log_likelihood * negative_log_likelihood;
}

double PerplexityEstimate::value() const {
  CHECK_GT(tokens_, 0u);
  return std::exp(sum_ / static_cast<double>(tokens_));
}

double PerplexityEstimate::standard_error() const {
  if (tokens_ < 2) return 0;
  const auto count = static_cast<double>(tokens_);
  const double mean = sum_ / count;
  const double variance = std::max(0.0, sum_of_squares_ / count - mean * mean);
  return std::sqrt(variance / (count - 1)) * value();
}

double negative_log_likelihood(std::span<const float> logits, TokenId token) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return std::log(sum) + largest - logits[static_cast<std::size_t>(token)];
}

PerplexityEstimate perplexity(
    Session& session, std::span<const TokenId> tokens, const PerplexityOptions& options,
    FunctionRef<bool(std::uint32_t chunk, const PerplexityEstimate& so_far)> progress) {
  const std::uint32_t context = options.context;
  if (context < 4 || context > session.context())
    throw_error(ErrorCode::kUsage, "chunks of {} tokens do not fit; give 4 to {} with --ctx-size",
                context, session.context());
  if (tokens.size() < std::size_t{2} * context)
    throw_error(
        ErrorCode::kBadInput,
        "the text has {} tokens, but perplexity over chunks of {} needs at least {}; give a "
        "longer text or a smaller --ctx-size",
        tokens.size(), context, 2 * context);
  const std::size_t chunks =
      std::min<std::size_t>(tokens.size() / context, options.most_chunks.value_or(UINT32_MAX));
  const std::uint32_t first_scored = context / 2;
  PerplexityEstimate estimate;
  std::vector<TokenId> chunk(context);
  for (std::uint32_t i = 0; i < chunks; ++i) {
    std::ranges::copy(tokens.subspan(std::size_t{i} * context, context), chunk.begin());
    if (options.bos) chunk.front() = *options.bos;
    session.reset();
    session.evaluate(chunk, first_scored, [&](std::uint32_t row, std::span<const float> logits) {
      if (row + 1 < context) estimate.add(negative_log_likelihood(logits, chunk[row + 1]));
    });
    if (!progress(i, estimate)) break;
  }
  return estimate;
}

}  // namespace hearth::runtime
