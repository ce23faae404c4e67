#include "runtime/sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace hearth::runtime {
namespace {

struct Candidate {
  float logit;
  TokenId id;
};

// The better candidate first; equal logits by id, so that the order never depends on the sort.
bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// The last tokens, and how often each token of the vocabulary is among them.
class RecentTokens {
 public:
  RecentTokens(std::size_t capacity, std::size_t vocabulary) : ring_(capacity) {
    if (capacity > 0) counts_.resize(vocabulary);
  }

  void add(TokenId token) {
    if (ring_.empty()) return;
    if (size_ == ring_.size())
      --counts_[static_cast<std::size_t>(ring_[next_])];
    else
      ++size_;
    ring_[next_] = token;
    next_ = (next_ + 1) % ring_.size();
    ++counts_[static_cast<std::size_t>(token)];
  }

  bool empty() const { return size_ == 0; }
  std::uint32_t count(std::size_t token) const { return counts_[token]; }

 private:
  std::vector<TokenId> ring_;
  std::vector<std::uint32_t> counts_;  // empty where the ring is
  std::size_t next_ = 0;
  std::size_t size_ = 0;
};

std::size_t remembered(const SamplerOptions& options, std::size_t context) {
  const bool penalizes = options.repeat_penalty != 1.0f || options.presence_penalty != 0.0f ||
                         options.frequency_penalty != 0.0f;
  if (!penalizes) return 0;
  if (options.repeat_last_n < 0) return context;
  return std::min(static_cast<std::size_t>(options.repeat_last_n), context);
}

}  // namespace

struct Sampler::State {
  State(const SamplerOptions& wanted, std::size_t vocabulary, std::size_t context)
      : options(wanted),
        seed(wanted.seed ? *wanted.seed : std::random_device()()),
        random(seed),
        recent(remembered(wanted, context), vocabulary),
        candidates(vocabulary),
        weights(vocabulary) {}

  void penalize();
  TokenId best() const;
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  TokenId draw();
  double weigh(double temperature);

  SamplerOptions options;
  std::uint64_t seed;
  Random random;
  RecentTokens recent;
  std::vector<Candidate> candidates;  // as many as the vocabulary
  std::vector<double> weights;        // of the candidates, where one step needs them
  std::size_t kept = 0;               // the candidates that are left lie in front
  bool sorted = false;                // those are, the best first
};

void Sampler::State::penalize() {
  if (recent.empty()) return;
  for (Candidate& candidate : candidates) {
    const std::uint32_t count = recent.count(static_cast<std::size_t>(candidate.id));
    if (count == 0) continue;
    // Dividing a negative logit would make the token more likely.
    if (candidate.logit <= 0.0f)
      candidate.logit *= options.repeat_penalty;
    else
      candidate.logit /= options.repeat_penalty;
    candidate.logit -=
        static_cast<float>(count) * options.frequency_penalty + options.presence_penalty;
  }
}

TokenId Sampler::State::best() const {
  return std::min_element(candidates.begin(), candidates.end(), better)->id;
}

void Sampler::State::keep_top_k() {
  if (options.top_k <= 0) return;
  kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(kept);
  std::partial_sort(candidates.begin(), middle, candidates.end(), better);
  sorted = true;
}

// The smallest set of best candidates that together have the probability top_p.
void Sampler::State::keep_top_p() {
  if (options.top_p >= 1.0f) return;
  if (!sorted) {
    std::sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept), better);
    sorted = true;
  }
  const double wanted = options.top_p * weigh(1.0);
  double sum = 0.0;
  for (std::size_t i = 0; i < kept; ++i) {
    sum += weights[i];
    if (sum >= wanted) {
      kept = i + 1;
      return;
    }
  }
}

// Those at least min_p times as likely as the best one.
void Sampler::State::keep_min_p() {
  if (options.min_p <= 0.0f) return;
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(kept);
  const float highest = std::min_element(candidates.begin(), end, better)->logit;
  const double lowest = highest + std::log(std::min<double>(options.min_p, 1.0));
  const auto kept_end = std::remove_if(candidates.begin(), end, [&](const Candidate& candidate) {
    return candidate.logit < lowest;
  });
  kept = static_cast<std::size_t>(kept_end - candidates.begin());
}

// Fills `weights` with the probabilities of what is kept, up to their sum, which it returns. In
// double: where two platforms' exp differ in the last bit, a draw differs once in about 10^16.
double Sampler::State::weigh(double temperature) {
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(kept);
  const double highest = std::min_element(candidates.begin(), end, better)->logit;
  double sum = 0.0;
  for (std::size_t i = 0; i < kept; ++i) {
    weights[i] = std::exp((candidates[i].logit - highest) / temperature);
    sum += weights[i];
  }
  return sum;
}

TokenId Sampler::State::draw() {
  double left = random.uniform() * weigh(options.temperature);
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    left -= weights[i];
    if (left < 0.0) return candidates[i].id;
  }
  return candidates[kept - 1].id;
}

Sampler::Sampler(const SamplerOptions& options, std::size_t vocabulary, std::size_t context)
    : state_(std::make_unique<State>(options, vocabulary, context)) {
  CHECK(vocabulary > 0);
}
Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

TokenId Sampler::sample(std::span<const float> logits) {
  State& state = *state_;
  CHECK_EQ(logits.size(), state.candidates.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    state.candidates[i] = {logits[i], static_cast<TokenId>(i)};
  state.kept = logits.size();
  state.sorted = false;

  state.penalize();
  if (state.options.temperature <= 0.0f) return state.best();
  state.keep_top_k();
  state.keep_top_p();
  state.keep_min_p();
  return state.draw();
}

void Sampler::accept(TokenId token) {
  CHECK(token >= 0 && static_cast<std::size_t>(token) < state_->candidates.size());
  state_->recent.add(token);
}

std::uint64_t Sampler::random_state() const { return state_->random.state(); }
void Sampler::resume(std::uint64_t random_state) { state_->random = Random(random_state); }
std::uint64_t Sampler::seed() const { return state_->seed; }

TokenId argmax(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best]) best = i;
  return static_cast<TokenId>(best);
}

}  // namespace hearth::runtime
