#include "runtime/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hearth::runtime {
namespace {

// Tokens less likely than e^-16 in the base are left out: files hold no more of them.
constexpr float kLeastLogProb = -16;

}  // namespace

void Divergence::add(std::span<const float> base, std::span<const float> logits, TokenId next) {
  CHECK_EQ(base.size(), logits.size());
  const auto likeliest = std::ranges::max_element(logits) - logits.begin();
  const double most = logits[static_cast<std::size_t>(likeliest)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  const double normalizer = most + std::log(sum);

  double divergence = 0;
  for (std::size_t i = 0; i < base.size(); ++i)
    if (base[i] > kLeastLogProb)
      divergence += std::exp(static_cast<double>(base[i])) * (base[i] - (logits[i] - normalizer));
  values_.push_back(divergence);
  same_top_ += std::ranges::max_element(base) - base.begin() == likeliest;

  const auto followed = static_cast<std::size_t>(next);
  const double log_prob = logits[followed] - normalizer;
  base_.add(-base[followed]);
  run_.add(-log_prob);
  const double change = std::exp(log_prob) - std::exp(static_cast<double>(base[followed]));
  change_ += change;
  squared_change_ += change * change;
}

double Divergence::mean() const {
  CHECK(!values_.empty());
  double sum = 0;
  for (const double value : values_) sum += value;
  return sum / static_cast<double>(values_.size());
}

double Divergence::standard_error() const {
  if (values_.size() < 2) return 0;
  const double center = mean();
  double squares = 0;
  for (const double value : values_) squares += (value - center) * (value - center);
  const auto count = static_cast<double>(values_.size());
  return std::sqrt(squares / count / (count - 1));
}

double Divergence::percentile(double fraction) const {
  CHECK(!values_.empty());
  std::vector<double> sorted = values_;
  std::ranges::sort(sorted);
  const double place = std::clamp(fraction, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[above];
}

double Divergence::same_top() const {
  return static_cast<double>(same_top_) / static_cast<double>(values_.size());
}

double Divergence::mean_probability_change() const {
  return change_ / static_cast<double>(values_.size());
}

double Divergence::root_mean_square_probability_change() const {
  return std::sqrt(squared_change_ / static_cast<double>(values_.size()));
}

}  // namespace hearth::runtime
