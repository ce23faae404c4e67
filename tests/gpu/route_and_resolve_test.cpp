// A step of one row is routed and resolved in one launch: what both write is what two launches
// write, whatever the router's shape and the tables.
#include <fmt/format.h>

#include <limits>
#include <utility>

#include "base/random.h"
#include "tests/gpu/support/resolve_problem.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

struct Routed {
  std::vector<std::uint16_t> ids;
  std::vector<float> weights;
  std::uint32_t faults;
};

// The router of a layer, and the decisions that may take the place of its own.
struct RouterOnDevice {
  RouterOnDevice(const TestDevice& on, const RouterSpec& spec, const std::vector<float>& of_experts,
                 const std::vector<std::uint16_t>& forced)
      : logits(on, of_experts),
        weights(on, spec.used),
        forced_weights(on, std::vector<float>(spec.used, 0.25f)),
        ids(on, spec.used),
        forced_ids(on, forced),
        faults(on, std::vector<std::uint32_t>{0}) {
    task = {.spec = spec,
            .rows = 1,
            .logits = logits.data(),
            .logit_stride = spec.experts,
            .ids = ids.data(),
            .weights = weights.data(),
            .faults = faults.data()};
    if (!forced.empty())
      task.forced = {.ids = forced_ids.data(), .weights = forced_weights.data(), .entries = 1};
  }
  Routed found() const { return {ids.values(), weights.values(), faults.values()[0]}; }

  DeviceArray<float> logits, weights, forced_weights;
  DeviceArray<std::uint16_t> ids, forced_ids;
  DeviceArray<std::uint32_t> faults;
  RouteTask task;
};

// Steps of one row, one after another, on tables that they change.
void expect_as_two_launches(const RouterSpec& spec, const std::vector<std::uint16_t>& forced = {}) {
  const ResolveShape shape{.experts = spec.experts,
                           .used = spec.used,
                           .most_fetches = spec.used,
                           .slots_of_class = {spec.experts / 2 + 1}};
  for (const TestDevice& on : test_devices()) {
    const std::string where = fmt::format("{}: {} of {}", on.name, spec.used, spec.experts);
    Random random(spec.experts + spec.used);
    ResolveState state(shape);
    for (state.step = 1; state.step <= 4; ++state.step) {
      for (std::uint64_t& source : state.sources)
        if (random.below(4) == 0) source = 0;
      std::vector<float> logits = normal_floats(random, spec.experts, 3);
      if (state.step == 4) logits[spec.experts / 2] = std::numeric_limits<float>::quiet_NaN();
      const RouterOnDevice two(on, spec, logits, forced), one(on, spec, logits, forced);
      on.kernels->route(two.task, on.stream->native());
      const Routed routed = two.found();
      ResolveInput input{.ids = routed.ids, .weights = routed.weights};
      for (std::uint32_t misses = 0; misses <= spec.used; ++misses)
        input.fetch_limits.push_back((misses + 1) / 2);
      ResolveState expected = state;
      const ResolveOutput resolved = resolve(nullptr, shape, input, expected);
      input.ids.assign(spec.used, 0xffff);
      input.weights.assign(spec.used, -1);
      EXPECT_EQ(route_and_resolve(on, shape, input, one.task, state), resolved) << where;
      EXPECT_EQ(state, expected) << where;
      EXPECT_EQ(one.found().ids, routed.ids) << where;
      expect_same_bits(routed.weights, one.found().weights, where);
      EXPECT_EQ(one.found().faults, routed.faults) << where;
    }
  }
}

// Fewer experts than a warp has lanes, more than a block has threads; few and many of them.
TEST(RouteAndResolve, EveryNumberOfExperts) {
  for (const auto& [experts, used] : {std::pair{1u, 1u},
                                      {8u, 2u},
                                      {60u, 4u},
                                      {128u, 8u},
                                      {160u, 6u},
                                      {300u, 256u},
                                      {512u, 10u},
                                      {1024u, 8u}})
    expect_as_two_launches({.experts = experts, .used = used});
}

TEST(RouteAndResolve, EveryRule) {
  for (const Gating gating :
       {Gating::kSoftmax, Gating::kSigmoid, Gating::kSoftmaxOfChosen, Gating::kSigmoidOfChosen})
    for (const std::uint32_t groups : {1u, 8u})
      expect_as_two_launches({.experts = 64,
                              .used = 6,
                              .gating = gating,
                              .normalized = true,
                              .groups = groups,
                              .groups_used = groups == 1 ? 1u : 3u});
}

// Decisions that are the file's, one of which is none.
TEST(RouteAndResolve, ForcedDecisionsAreResolved) {
  expect_as_two_launches({.experts = 16, .used = 3}, {5, 0, 11});
  expect_as_two_launches({.experts = 16, .used = 3}, {5, 16, 11});
}

}  // namespace
}  // namespace hearth::kernels
