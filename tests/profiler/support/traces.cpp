#include "tests/profiler/support/traces.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/random.h"

namespace hearth::profiler::testing {

RoutingTrace empty_trace(ExpertSpace space, std::uint32_t experts_per_row) {
  TraceHeader header;
  header.model.layers = space.layers;
  header.model.experts_per_layer = space.experts_per_layer;
  header.model.experts_used = experts_per_row;
  for (LayerIndex layer = 0; layer < space.layers; ++layer)
    header.layers.push_back({layer, space.experts_per_layer});
  header.experts_per_row = experts_per_row;
  header.has_weights = false;
  return RoutingTrace(std::move(header));
}

namespace {

Routing decision(const RoutingTrace& trace, std::size_t nth_layer,
                 std::span<const std::uint16_t> experts) {
  const std::uint32_t per_row = trace.header().experts_per_row;
  return {.layer = trace.header().layers[nth_layer].layer,
          .rows = static_cast<std::uint32_t>(experts.size() / per_row),
          .experts_per_row = per_row,
          .experts = experts,
          .weights = {}};
}

}  // namespace

void add_step(RoutingTrace& trace,
              std::initializer_list<std::initializer_list<std::uint16_t>> decisions) {
  CHECK_EQ(decisions.size(), trace.header().layers.size());
  const auto rows =
      static_cast<std::uint32_t>(decisions.begin()->size() / trace.header().experts_per_row);
  trace.begin_step({static_cast<std::uint32_t>(trace.rows()), rows});
  std::size_t nth = 0;
  for (const std::span<const std::uint16_t> experts : decisions)
    trace.add(decision(trace, nth++, experts));
}

namespace {

class Router {
 public:
  Router(const DrawnTrace& wanted, Random& random)
      : wanted_(wanted),
        random_(random),
        lasting_(normals()),
        subject_(normals()),
        state_(normals()),
        scores_(wanted.experts),
        order_(wanted.experts) {}

  void change_subject() { subject_ = normals(); }

  void choose(std::vector<std::uint16_t>& experts) {
    const double fresh = std::sqrt(1 - wanted_.correlation * wanted_.correlation);
    const double of_subject = wanted_.subject_tokens > 0 ? wanted_.subject_share : 0;
    for (std::uint32_t e = 0; e < wanted_.experts; ++e) {
      state_[e] = wanted_.correlation * state_[e] + fresh * random_.normal();
      const double gumbel = -std::log(-std::log(1 - random_.uniform() * 0x1.fffffffffffffp-1));
      scores_[e] = wanted_.skew * (std::sqrt(1 - of_subject) * lasting_[e] +
                                   std::sqrt(of_subject) * subject_[e]) +
                   wanted_.persistence * state_[e] + gumbel;
    }
    std::iota(order_.begin(), order_.end(), std::uint16_t{0});
    std::partial_sort(order_.begin(), order_.begin() + wanted_.experts_per_row, order_.end(),
                      [this](std::uint16_t a, std::uint16_t b) { return scores_[a] > scores_[b]; });
    experts.insert(experts.end(), order_.begin(), order_.begin() + wanted_.experts_per_row);
  }

 private:
  std::vector<double> normals() {
    std::vector<double> drawn(wanted_.experts);
    for (double& value : drawn) value = random_.normal();
    return drawn;
  }

  const DrawnTrace& wanted_;
  Random& random_;
  std::vector<double> lasting_, subject_, state_, scores_;
  std::vector<std::uint16_t> order_;
};

}  // namespace

RoutingTrace draw_trace(const DrawnTrace& wanted) {
  RoutingTrace trace = empty_trace({wanted.layers, wanted.experts}, wanted.experts_per_row);
  Random random(wanted.seed);
  std::vector<Router> routers;
  for (std::uint32_t layer = 0; layer < wanted.layers; ++layer)
    routers.emplace_back(wanted, random);
  const std::uint32_t total = wanted.prompt_rows + wanted.tokens;
  std::vector<std::uint16_t> experts;
  for (std::uint32_t token = 0; token < total;) {
    const std::uint32_t rows = token == 0 && wanted.prompt_rows > 0 ? wanted.prompt_rows : 1;
    if (wanted.subject_tokens > 0 && token > 0 && token % wanted.subject_tokens == 0)
      for (Router& router : routers) router.change_subject();
    trace.begin_step({token, rows});
    for (std::uint32_t layer = 0; layer < wanted.layers; ++layer) {
      experts.clear();
      for (std::uint32_t row = 0; row < rows; ++row) routers[layer].choose(experts);
      trace.add(decision(trace, layer, experts));
    }
    token += rows;
  }
  return trace;
}

}  // namespace hearth::profiler::testing
