// The choice of experts on a device: ids, weights and their order as the CPU has them.
#include <fmt/format.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "runtime/blocks/router.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Choices {
  std::vector<std::uint16_t> ids;
  std::vector<float> weights;
};

struct Problem {
  RouterSpec spec;
  std::uint32_t rows = 1;
  std::vector<float> logits;                // [rows][experts]
  std::vector<float> bias, selection_bias;  // or empty

  std::size_t pairs() const { return std::size_t{rows} * spec.used; }
};

Problem random_problem(const RouterSpec& spec, std::uint32_t rows, bool biased, Random& random) {
  Problem p{.spec = spec, .rows = rows};
  p.logits = normal_floats(random, std::size_t{rows} * spec.experts, 3);
  if (biased) p.bias = normal_floats(random, spec.experts);
  if (biased) p.selection_bias = normal_floats(random, spec.experts);
  return p;
}

Choices of_the_cpu(const Problem& p) {
  using runtime::WeightVector;
  const auto matrix = [](const std::vector<float>& values) {
    return WeightMatrix{WeightFormat::kF32, 1, static_cast<std::uint32_t>(values.size()),
                        reinterpret_cast<const std::byte*>(values.data())};
  };
  const WeightMatrix bias = matrix(p.bias), selection_bias = matrix(p.selection_bias);
  const runtime::Router router(
      p.spec, {.bias = p.bias.empty() ? WeightVector{} : WeightVector{&bias},
               .selection_bias =
                   p.selection_bias.empty() ? WeightVector{} : WeightVector{&selection_bias}});
  Choices result{std::vector<std::uint16_t>(p.pairs()), std::vector<float>(p.pairs())};
  std::vector<float> scores = p.logits, selection(p.spec.experts);
  for (std::size_t row = 0; row < p.rows; ++row)
    router.choose(scalar_table(), std::span(scores).subspan(row * p.spec.experts, p.spec.experts),
                  selection, std::span(result.ids).subspan(row * p.spec.used, p.spec.used),
                  std::span(result.weights).subspan(row * p.spec.used, p.spec.used));
  return result;
}

// A problem on a device, with its logits further apart than they need be.
class OnDevice {
 public:
  OnDevice(const TestDevice& on, const Problem& p)
      : on_(on),
        logits_(on, spaced(p)),
        bias_(on, p.bias),
        selection_bias_(on, p.selection_bias),
        ids_(on, p.pairs()),
        weights_(on, p.pairs()),
        faults_(on, std::vector<std::uint32_t>{0}) {
    task = {.spec = p.spec,
            .rows = p.rows,
            .logits = logits_.data(),
            .logit_stride = p.spec.experts + kApart,
            .bias = p.bias.empty() ? nullptr : bias_.data(),
            .selection_bias = p.selection_bias.empty() ? nullptr : selection_bias_.data(),
            .ids = ids_.data(),
            .weights = weights_.data(),
            .faults = faults_.data()};
  }

  Choices run() const {
    on_.kernels->route(task, on_.stream->native());
    return {ids_.values(), weights_.values()};
  }
  std::uint32_t faults() const { return faults_.values()[0]; }

  RouteTask task;

 private:
  static constexpr std::uint32_t kApart = 3;
  static std::vector<float> spaced(const Problem& p) {
    std::vector<float> result;
    for (std::size_t row = 0; row < p.rows; ++row) {
      const auto from = p.logits.begin() + static_cast<std::ptrdiff_t>(row * p.spec.experts);
      result.insert(result.end(), from, from + p.spec.experts);
      result.insert(result.end(), kApart, kNan);
    }
    return result;
  }

  const TestDevice& on_;
  DeviceArray<float> logits_, bias_, selection_bias_;
  DeviceArray<std::uint16_t> ids_;
  DeviceArray<float> weights_;
  DeviceArray<std::uint32_t> faults_;
};

void expect_same(const Choices& expected, const Choices& found, const std::string& where) {
  EXPECT_EQ(expected.ids, found.ids) << where;
  expect_same_bits(expected.weights, found.weights, where);
}

void expect_as_the_cpu(const Problem& p, std::uint32_t faults = 0) {
  const Choices expected = of_the_cpu(p);
  for (const TestDevice& on : test_devices()) {
    const OnDevice device(on, p);
    const std::string where =
        fmt::format("{}: {} of {}, gating {}, {} groups", on.name, p.spec.used, p.spec.experts,
                    static_cast<int>(p.spec.gating), p.spec.groups);
    expect_same(expected, device.run(), where);
    EXPECT_EQ(device.faults(), faults) << where;
  }
}

constexpr Gating kGatings[] = {Gating::kSoftmax, Gating::kSigmoid, Gating::kSoftmaxOfChosen,
                               Gating::kSigmoidOfChosen};

TEST(GpuRoute, EveryRule) {
  Random random(1);
  for (const Gating gating : kGatings)
    for (const bool normalized : {false, true})
      for (const bool biased : {false, true})
        for (const std::uint32_t groups : {1u, 8u})
          expect_as_the_cpu(random_problem({.experts = 64,
                                            .used = 6,
                                            .gating = gating,
                                            .normalized = normalized,
                                            .weight_scale = biased ? 2.5f : 1,
                                            .logit_scale = normalized ? 0.125f : 1,
                                            .groups = groups,
                                            .groups_used = groups == 1 ? 1u : 3u},
                                           2, biased, random));
}

// One expert, all of them, more than a block has threads, as many as there may be.
TEST(GpuRoute, EveryNumberOfExperts) {
  Random random(2);
  for (const auto& [experts, used] : {std::pair{1u, 1u},
                                      {2u, 1u},
                                      {8u, 8u},
                                      {60u, 4u},
                                      {65u, 9u},
                                      {128u, 8u},
                                      {160u, 6u},
                                      {257u, 16u},
                                      {384u, 8u},
                                      {512u, 10u},
                                      {100u, 100u},
                                      {1000u, 100u},
                                      {1024u, 256u}})
    for (const Gating gating : {Gating::kSoftmax, Gating::kSoftmaxOfChosen})
      expect_as_the_cpu(random_problem({.experts = experts, .used = used, .gating = gating}, 1,
                                       experts % 2 == 1, random));
}

TEST(GpuRoute, EightRowsAndNone) {
  Random random(3);
  expect_as_the_cpu(random_problem({.experts = 128, .used = 8}, 8, false, random));
  for (const TestDevice& on : test_devices()) {
    Problem p = random_problem({.experts = 16, .used = 2}, 1, false, random);
    OnDevice device(on, p);
    device.task.rows = 0;
    EXPECT_EQ(device.run().ids, std::vector<std::uint16_t>(2, 0xffff)) << "written by nobody";
  }
}

TEST(GpuRoute, GroupsOfEverySize) {
  Random random(4);
  for (const auto& [experts, groups, used] :
       {std::tuple{64u, 64u, 40u}, {256u, 8u, 4u}, {12u, 2u, 1u}, {512u, 64u, 3u}, {6u, 3u, 2u}})
    expect_as_the_cpu(random_problem({.experts = experts,
                                      .used = std::min(8u, experts / groups * used),
                                      .gating = Gating::kSigmoid,
                                      .groups = groups,
                                      .groups_used = used},
                                     2, true, random));
}

// Equal scores go by their index, those of neither sign of zero apart; extreme ones are as any.
TEST(GpuRoute, TiesAndExtremes) {
  const auto route = [](std::vector<float> logits, Gating gating, std::uint32_t faults = 0) {
    const auto experts = static_cast<std::uint32_t>(logits.size());
    expect_as_the_cpu(
        {.spec = {.experts = experts, .used = 5, .gating = gating}, .logits = std::move(logits)},
        faults);
  };
  for (const Gating gating : kGatings) {
    route(std::vector<float>(300, 0.5f), gating);
    route({0.0f, -0.0f, 0.0f, -0.0f, -1, 0.0f, -0.0f, 1e-45f, -1e-45f}, gating);
    route({500, -500, 88.8f, -87.4f, 499, 0, 500}, gating);
    std::vector<float> steps(512);
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<float>(i * 7 % 10);
    route(steps, gating);
  }
  route({-kInfinity, 1, -kInfinity, 2, -kInfinity, -kInfinity, 3}, Gating::kSigmoid);
}

// A NaN is never followed, but counted once for its row, where softmax makes it one of all experts
// and where not.
TEST(GpuRoute, NotANumberIsCounted) {
  Random random(5);
  for (const Gating gating : kGatings)
    for (const std::uint32_t groups : {1u, 4u}) {
      Problem p = random_problem(
          {.experts = 32, .used = 4, .gating = gating, .groups = groups, .groups_used = 2}, 4,
          false, random);
      if (groups == 1) p.spec.groups_used = 1;
      p.logits[32 + 7] = kNan;
      std::fill_n(p.logits.begin() + 96, 32, kNan);
      expect_as_the_cpu(p, 2);
      p.logits[0] = kInfinity;  // its softmax is NaN, whether of all or of the chosen
      const bool softmax = gating == Gating::kSoftmax || gating == Gating::kSoftmaxOfChosen;
      expect_as_the_cpu(p, softmax ? 3 : 2);
    }
}

TEST(GpuRoute, AnyLogits) {
  EXPECT_TRUE(rc::check([] {
    Problem p;
    p.spec.experts = *rc::gen::inRange(1u, 700u);
    p.spec.used = *rc::gen::inRange(1u, std::min(p.spec.experts, 40u) + 1);
    p.spec.gating = *rc::gen::elementOf(std::vector(std::begin(kGatings), std::end(kGatings)));
    p.rows = *rc::gen::inRange(1u, 3u);
    // Few different ones, so that many are equal.
    Random random(*rc::gen::arbitrary<std::uint64_t>());
    for (std::size_t i = 0; i < std::size_t{p.rows} * p.spec.experts; ++i)
      p.logits.push_back(static_cast<float>(random.below(20)) - 10);
    const TestDevice& on = test_devices()[random.below(test_devices().size())];
    const Choices expected = of_the_cpu(p), found = OnDevice(on, p).run();
    RC_ASSERT(expected.ids == found.ids);
    RC_ASSERT(bits_of(expected.weights) == bits_of(found.weights));
  }));
}

// Two rows of the step get the entries from *first on; past the last, or of an expert that there is
// not, a row keeps its own choice.
TEST(GpuRoute, DecisionsMayBeForced) {
  Random random(6);
  const Problem p = random_problem({.experts = 16, .used = 2}, 2, false, random);
  const Choices own = of_the_cpu(p);
  const std::vector<std::uint16_t> ids{1, 2, 3, 15, 5, 16, 7, 8};
  const std::vector<float> weights{0.5f, 0.25f, 1, 2, 3, 4, 5, 6};
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<std::uint16_t> of_ids(on, ids);
    const DeviceArray<float> of_weights(on, weights);
    for (const std::uint32_t begin : {0u, 1u, 2u, 3u, 0xffffffffu}) {
      OnDevice device(on, p);
      const DeviceArray<std::uint32_t> first(on, std::vector<std::uint32_t>{begin});
      device.task.forced = {.ids = of_ids.data(),
                            .weights = of_weights.data(),
                            .entries = 4,
                            .first = begin == 0 ? nullptr : first.data()};
      Choices expected = own;
      std::uint32_t refused = 0;
      for (std::uint64_t row = 0; row < 2; ++row) {
        const std::uint64_t entry = begin + row;
        const bool fine = entry == 0 || entry == 1 || entry == 3;
        if (!fine) ++refused;
        for (std::uint64_t k = 0; k < 2 && fine; ++k) {
          expected.ids[row * 2 + k] = ids[entry * 2 + k];
          expected.weights[row * 2 + k] = weights[entry * 2 + k];
        }
      }
      expect_same(expected, device.run(), fmt::format("{}: from {}", on.name, begin));
      EXPECT_EQ(device.faults(), refused);
    }
  }
}

TEST(GpuRoute, DecisionsAreRecordedInARing) {
  Random random(7);
  const Problem p = random_problem({.experts = 16, .used = 3}, 2, false, random);
  constexpr std::uint64_t kStride = 10, kSteps = 4;
  for (const TestDevice& on : test_devices()) {
    OnDevice device(on, p);
    const DeviceArray<std::uint16_t> ids(on, kStride * kSteps);
    const DeviceArray<float> weights(on, kStride * kSteps);
    const DeviceArray<std::uint32_t> step(on, std::vector<std::uint32_t>{kSteps * 1000 + 2});
    device.task.record = {.ids = ids.data(),
                          .weights = weights.data(),
                          .stride = kStride,
                          .steps = kSteps,
                          .step = step.data()};
    const Choices found = device.run();
    Choices expected{std::vector<std::uint16_t>(kStride * kSteps, 0xffff),
                     std::vector<float>(kStride * kSteps, kNan)};
    std::copy(found.ids.begin(), found.ids.end(), expected.ids.begin() + 2 * kStride);
    std::copy(found.weights.begin(), found.weights.end(), expected.weights.begin() + 2 * kStride);
    expect_same(expected, {ids.values(), weights.values()}, on.name);
  }
}

}  // namespace
}  // namespace hearth::kernels
