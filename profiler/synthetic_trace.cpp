#include "profiler/synthetic_trace.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "base/random.h"

namespace hearth::profiler {
namespace {

// Chances in steps of a sixteenth of an octave, clamped to 16 octaves to either side. The largest
// weight is below 2^48, so that the sum over kMostSyntheticExperts fits 64 bits.
constexpr std::int32_t kStepsPerOctave = 16;
constexpr std::int32_t kMostOctaves = 16;
constexpr std::array<std::uint64_t, kStepsPerOctave> kPowersOfTwo = {  // 2^15 * 2^(i/16)
    32768, 34219, 35734, 37316, 38968, 40693, 42495, 44376,
    46341, 48393, 50535, 52773, 55109, 57549, 60097, 62757};

std::uint64_t weight_of(std::int32_t steps) {
  constexpr std::int32_t kMost = kMostOctaves * kStepsPerOctave - 1;
  const auto above = static_cast<std::uint32_t>(std::clamp(steps, -kMost, kMost) + kMost + 1);
  return kPowersOfTwo[above % kStepsPerOctave] << (above / kStepsPerOctave);
}

// A normal deviate (Irwin-Hall: twelve uniform ones) of this strength, in steps.
std::int32_t deviate(Random& random, double octaves) {
  constexpr std::uint32_t kSummands = 12;
  constexpr double kUnit = 65536;
  std::int64_t sum = 0;
  for (std::uint32_t i = 0; i < kSummands / 4; ++i)
    for (std::uint64_t bits = random.next(), j = 0; j < 4; ++j, bits >>= 16)
      sum += static_cast<std::int64_t>(bits & 0xffff);
  const double normal = static_cast<double>(sum) / kUnit - kSummands / 2.0;
  return static_cast<std::int32_t>(std::lround(normal * octaves * kStepsPerOctave));
}

// A stream of its own for every purpose, so that one number changes only what it names.
Random stream(std::uint64_t seed, std::uint64_t purpose, std::uint64_t index) {
  Random of_purpose(Random(seed).next() ^ purpose);
  return Random(Random(of_purpose.next() ^ index).next());
}
enum Purpose : std::uint64_t { kLayer = 1, kTopic, kTopicOrder, kDraws };

// Draws by weight in O(log n): a binary tree of sums.
class WeightTree {
 public:
  explicit WeightTree(std::uint32_t leaves)
      : leaves_(std::bit_ceil(leaves)), sums_(2 * std::size_t{leaves_}) {}

  std::uint64_t weight(std::uint32_t leaf) const { return sums_[leaves_ + leaf]; }

  void set(std::uint32_t leaf, std::uint64_t weight) {
    std::uint32_t node = leaves_ + leaf;
    const std::uint64_t change = weight - sums_[node];  // modulo 2^64
    for (; node > 0; node /= 2) sums_[node] += change;
  }

  std::uint32_t draw(Random& random) const {
    std::uint64_t rest = random.below(sums_[1]);
    std::uint32_t node = 1;
    while (node < leaves_) {
      node *= 2;
      if (rest >= sums_[node]) rest -= sums_[node++];
    }
    return node - leaves_;
  }

 private:
  std::uint32_t leaves_;
  std::vector<std::uint64_t> sums_;  // of the leaves below, root at 1
};

class Layer {
 public:
  Layer(const SyntheticRouting& routing, std::uint32_t layer)
      : routing_(routing),
        layer_(layer),
        random_(stream(routing.seed, kDraws, layer)),
        lasting_(routing.experts),
        topic_(routing.experts),
        moods_(routing.moods.size(), std::vector<std::int32_t>(routing.experts)),
        redraws_(routing.moods.size()),
        weights_(routing.experts) {
    Random of_model = stream(routing.model_seed, kLayer, layer);
    const double ramp =
        layer < routing.even_layers
            ? routing.first_layer + (1 - routing.first_layer) * layer / routing.even_layers
            : 1;
    scale_ = ramp * (1 + routing.layer_spread * (2 * of_model.uniform() - 1));
    for (std::int32_t& popularity : lasting_) popularity = deviate(of_model, scale_ * routing.skew);
    for (std::size_t mood = 0; mood < moods_.size(); ++mood)
      for (std::int32_t& steps : moods_[mood])
        steps = deviate(random_, scale_ * routing.moods[mood].strength);
    for (std::uint32_t expert = 0; expert < routing.experts; ++expert) update(expert);
  }

  void begin_topic(std::uint32_t topic) {
    Random of_topic = stream(routing_.model_seed, kTopic, std::uint64_t{topic} << 32 | layer_);
    for (std::uint32_t expert = 0; expert < routing_.experts; ++expert) {
      topic_[expert] = deviate(of_topic, scale_ * routing_.topic_strength);
      update(expert);
    }
  }

  // In a token, 1 / Mood::tokens of the experts change their mood; which ones is random.
  void change_moods() {
    for (std::size_t mood = 0; mood < moods_.size(); ++mood) {
      redraws_[mood] += routing_.experts / routing_.moods[mood].tokens;
      for (; redraws_[mood] >= 1; redraws_[mood] -= 1) {
        const auto expert = static_cast<std::uint32_t>(random_.below(routing_.experts));
        moods_[mood][expert] = deviate(random_, scale_ * routing_.moods[mood].strength);
        update(expert);
      }
    }
  }

  void choose(std::span<std::uint16_t> experts) {
    for (std::uint16_t& chosen : experts) {
      const std::uint32_t expert = weights_.draw(random_);
      weights_.set(expert, 0);
      chosen = static_cast<std::uint16_t>(expert);
    }
    for (const std::uint16_t expert : experts) update(expert);
  }

 private:
  void update(std::uint32_t expert) {
    std::int32_t steps = lasting_[expert] + topic_[expert];
    for (const std::vector<std::int32_t>& mood : moods_) steps += mood[expert];
    weights_.set(expert, weight_of(steps));
  }

  const SyntheticRouting& routing_;
  const std::uint32_t layer_;
  Random random_;
  double scale_ = 1;
  std::vector<std::int32_t> lasting_, topic_;     // per expert, in steps
  std::vector<std::vector<std::int32_t>> moods_;  // [mood][expert], likewise
  std::vector<double> redraws_;                   // due, per mood
  WeightTree weights_;
};

void require(bool in_range, std::string_view what) {
  if (!in_range) throw_error(ErrorCode::kUsage, "synthetic routing: {}", what);
}

void check_strength(double octaves) {
  require(octaves >= 0 && octaves <= kMostOctaves, "a strength must be 0 to 16 octaves");
}

void check(const SyntheticRouting& routing, std::uint32_t tokens) {
  require(routing.layers >= 1 && routing.layers <= kMostSyntheticLayers,
          "the number of layers must be 1 to 1024");
  require(routing.experts >= 1 && routing.experts <= kMostSyntheticExperts,
          "the number of experts must be 1 to 4096");
  require(routing.experts_per_row >= 1 && routing.experts_per_row <= routing.experts,
          "top-k must be 1 to the number of experts");
  require(tokens >= 1, "at least one token is needed");
  check_strength(routing.skew);
  check_strength(routing.topic_strength);
  for (const Mood& mood : routing.moods) {
    check_strength(mood.strength);
    require(mood.tokens >= 1, "a mood lasts 1 token or longer");
  }
  require(routing.first_layer >= 0 && routing.first_layer <= 1,
          "the first layer's part must be 0 to 1");
  require(routing.layer_spread >= 0 && routing.layer_spread <= 1,
          "the spread of layers must be 0 to 1");
  require(routing.topics >= 1 && routing.topic_tokens >= 1,
          "there is at least one topic, and it lasts at least one token");
}

TraceHeader header_of(const SyntheticRouting& routing, const std::string& workload) {
  TraceHeader header;
  header.model.architecture = "synthetic";
  header.model.name = routing.name;
  header.model.layers = routing.layers;
  header.model.experts_per_layer = routing.experts;
  header.model.experts_used = routing.experts_per_row;
  header.workload = workload;
  header.origin = "synthetic";
  for (std::uint32_t layer = 0; layer < routing.layers; ++layer)
    header.layers.push_back({static_cast<LayerIndex>(layer), routing.experts});
  header.experts_per_row = routing.experts_per_row;
  header.has_weights = false;
  return header;
}

// The topic of a token: they follow one another at random, never one itself.
class Topics {
 public:
  explicit Topics(const SyntheticRouting& routing)
      : routing_(routing), random_(stream(routing.seed, kTopicOrder, 0)) {}

  bool begins(std::uint32_t token) const {
    return token == 0 || (routing_.topics > 1 && token % routing_.topic_tokens == 0);
  }

  std::uint32_t next(std::uint32_t token) {
    if (token > 0)
      current_ = (current_ + 1 + static_cast<std::uint32_t>(random_.below(routing_.topics - 1))) %
                 routing_.topics;
    return routing_.first_topic + current_;
  }

 private:
  const SyntheticRouting& routing_;
  Random random_;
  std::uint32_t current_ = 0;
};

}  // namespace

RoutingTrace make_synthetic_trace(const SyntheticRouting& routing, std::uint32_t tokens,
                                  const std::string& workload) {
  check(routing, tokens);
  RoutingTrace trace(header_of(routing, workload));
  std::vector<Layer> layers;
  layers.reserve(routing.layers);
  for (std::uint32_t layer = 0; layer < routing.layers; ++layer)
    layers.emplace_back(routing, layer);

  Topics topics(routing);
  std::vector<std::uint16_t> experts(routing.experts_per_row);
  for (std::uint32_t token = 0; token < tokens; ++token) {
    if (topics.begins(token)) {
      const std::uint32_t topic = topics.next(token);
      for (Layer& layer : layers) layer.begin_topic(topic);
    }
    trace.begin_step({token, 1});
    for (std::uint32_t layer = 0; layer < routing.layers; ++layer) {
      layers[layer].choose(experts);
      layers[layer].change_moods();
      trace.add({static_cast<LayerIndex>(layer), 1, routing.experts_per_row, experts, {}, token});
    }
  }
  return trace;
}

}  // namespace hearth::profiler
