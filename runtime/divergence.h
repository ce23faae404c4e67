// How far the predictions of one run are from those of a base run: Kullback-Leibler divergence of
// the distributions, token by token, by the definitions of llama-perplexity --kl-divergence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "runtime/perplexity.h"

namespace hearth::runtime {

class Divergence {
 public:
  // Log-probabilities of the base, logits of the run, and the token that really followed.
  void add(std::span<const float> base, std::span<const float> logits, TokenId next);

  std::uint64_t tokens() const { return values_.size(); }
  double mean() const;
  double standard_error() const;             // of the mean
  double percentile(double fraction) const;  // 0 the least, 1 the largest; interpolated
  double same_top() const;                   // share of tokens whose likeliest next is the same
  double mean_probability_change() const;    // of the token that followed
  double root_mean_square_probability_change() const;
  const PerplexityEstimate& base() const { return base_; }
  const PerplexityEstimate& run() const { return run_; }

 private:
  std::vector<double> values_;  // nats, in order
  std::uint64_t same_top_ = 0;
  double change_ = 0, squared_change_ = 0;
  PerplexityEstimate base_, run_;
};

}  // namespace hearth::runtime
