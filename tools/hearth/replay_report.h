// What `hearth replay` found out, and how it is told: tables, CSV, JSON, and a page with curves.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "profiler/policy_study.h"

namespace hearth::tools {

struct ReplayRow {
  profiler::PolicyOutcome outcome;
  double below_belady = 0;                  // hit rate
  std::optional<double> tokens_per_second;  // predicted, where model and machine are known
};

struct ReplayedBudget {
  std::string label;  // as it was asked for: "25%", "6GiB"
  Bytes memory;       // of all slots; 0 where the model is not known
  std::uint32_t slots = 0;
  std::uint32_t experts = 0;
  std::vector<ReplayRow> rows;  // the policies, "static", "belady"
  std::string chosen;
  std::string reason;
  double below_best = 0;  // hit rate of the chosen one below that of the best policy

  const ReplayRow& row(std::string_view policy) const;
  const ReplayRow& best() const;  // of the policies
};

struct ReplayedTrace {
  std::string path;
  profiler::TraceHeader header;
  std::uint64_t tokens = 0;
  std::uint64_t learned = 0;  // tokens from which the policy was chosen
  std::uint64_t judged = 0;   // tokens that the figures are of
  std::string start;          // what was in memory before the first of them, in words
  std::string speed_basis;    // what the predicted speeds are of; empty without
  std::vector<ReplayedBudget> budgets;
};

void print_tables(const ReplayedTrace& trace);
// One row for each trace and budget: the choice and its distances.
void print_summary(const std::vector<ReplayedTrace>& traces);
void print_csv(const std::vector<ReplayedTrace>& traces);
std::string replay_json(const std::vector<ReplayedTrace>& traces);
std::string replay_page(const std::vector<ReplayedTrace>& traces);

}  // namespace hearth::tools
