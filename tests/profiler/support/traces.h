// Traces for tests: written out by hand, or drawn from a model of a router.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "profiler/routing_trace.h"

namespace hearth::profiler::testing {

// A trace of this shape without steps.
RoutingTrace empty_trace(ExpertSpace space, std::uint32_t experts_per_row);

// Adds a step; `decisions` has one row of experts per layer, or several rows, one after the other.
void add_step(RoutingTrace& trace,
              std::initializer_list<std::initializer_list<std::uint16_t>> decisions);

// A router whose scores are log-popularity (normal, of standard deviation `skew`), plus what lasts
// for some tokens (an AR(1) process of this standard deviation and correlation), plus noise of the
// Gumbel distribution; the top-k are chosen. A change of subject draws part of the popularity anew.
struct DrawnTrace {
  std::uint32_t layers = 8;
  std::uint32_t experts = 32;
  std::uint32_t experts_per_row = 4;
  std::uint32_t tokens = 300;
  std::uint32_t prompt_rows = 0;  // of the first step, in addition to the tokens; 0: no prompt
  double skew = 1.5;
  double persistence = 1;
  double correlation = 0.9;          // from token to token
  std::uint32_t subject_tokens = 0;  // 0: one subject
  double subject_share = 0.5;        // of the variance of popularity that changes with it
  std::uint64_t seed = 1;
};
RoutingTrace draw_trace(const DrawnTrace& wanted);

}  // namespace hearth::profiler::testing
