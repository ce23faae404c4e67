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

namespace {

std::uint32_t whole_chunks(std::span<const TokenId> tokens, const PerplexityOptions& options) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(
      tokens.size() / options.context, options.most_chunks.value_or(UINT32_MAX)));
}

}  // namespace

std::uint32_t chunk_count(std::span<const TokenId> tokens, const PerplexityOptions& options) {
  const std::uint32_t context = options.context;
  if (tokens.size() < std::size_t{2} * context)
    throw_error(
        ErrorCode::kBadInput,
        "the text has {} tokens, but perplexity over chunks of {} needs at least {}; give a "
        "longer text or a smaller --ctx-size",
        tokens.size(), context, 2 * context);
  return whole_chunks(tokens, options);
}

void score_chunks(Session& session, std::span<const TokenId> tokens,
                  const PerplexityOptions& options,
                  FunctionRef<void(std::span<const float> logits, TokenId next)> score,
                  FunctionRef<bool(std::uint32_t chunk)> go_on) {
  const std::uint32_t context = options.context;
  if (context < 4)
    throw_error(ErrorCode::kUsage,
                "chunks of {} tokens are too short to be scored; give at least 4 with --ctx-size",
                context);
  if (context > session.context())
    throw_error(ErrorCode::kUsage,
                "chunks of {} tokens do not fit the context of {}; raise --ctx-size", context,
                session.context());
  const std::size_t chunks = whole_chunks(tokens, options);
  const std::uint32_t first_scored = context / 2;
  std::vector<TokenId> chunk(context);
  for (std::uint32_t i = 0; i < chunks; ++i) {
    std::ranges::copy(tokens.subspan(std::size_t{i} * context, context), chunk.begin());
    if (options.bos) chunk.front() = *options.bos;
    session.reset();
    session.evaluate(chunk, first_scored, [&](std::uint32_t row, std::span<const float> logits) {
      if (row + 1 < context) score(logits, chunk[row + 1]);
    });
    if (!go_on(i)) return;
  }
}

PerplexityEstimate perplexity(
    Session& session, std::span<const TokenId> tokens, const PerplexityOptions& options,
    FunctionRef<bool(std::uint32_t chunk, const PerplexityEstimate& so_far)> progress) {
  chunk_count(tokens, options);
  PerplexityEstimate estimate;
  score_chunks(
      session, tokens, options,
      [&](std::span<const float> logits, TokenId next) {
        estimate.add(negative_log_likelihood(logits, next));
      },
      [&](std::uint32_t chunk) { return progress(chunk, estimate); });
  return estimate;
}

}  // namespace hearth::runtime
