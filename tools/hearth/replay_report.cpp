#include "tools/hearth/replay_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "tools/hearth/html_page.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

bool is_bound(std::string_view policy) { return policy == "static" || policy == "belady"; }

std::string memory_text(const ReplayedBudget& budget) {
  return fmt::format(
      "{} of {} experts{}", format_grouped(budget.slots), format_grouped(budget.experts),
      budget.memory == Bytes(0) ? "" : fmt::format(", {}", format_size(budget.memory)));
}

void print_header(const ReplayedTrace& trace) {
  const profiler::TraceHeader& header = trace.header;
  fmt::print("{}: {}{}, {} tokens, {} layers, {} experts of which {} are used\n",
             printable(trace.path), printable(header.origin),
             header.workload.empty() ? "" : fmt::format(" \"{}\"", printable(header.workload)),
             format_grouped(trace.tokens), header.layers.size(), header.model.experts_per_layer,
             header.experts_per_row);
  fmt::print("judged on {} tokens {}\n", format_grouped(trace.judged), trace.start);
  if (!trace.speed_basis.empty()) fmt::print("tok/s are {}\n", trace.speed_basis);
}

void print_row(const ReplayedBudget& budget, const ReplayRow& row, bool sizes, bool speeds) {
  const bool chosen = row.outcome.policy == budget.chosen;
  fmt::print("  {}{:<12}{:>7.1f} %{:>12.1f}{:>14.2f}{:>10.2f}", chosen ? "> " : "  ",
             row.outcome.policy, 100 * row.outcome.hit_rate, 100 * row.below_belady,
             row.outcome.misses, row.outcome.evictions);
  if (sizes) fmt::print("{:>12.2f}", row.outcome.bytes / 1e6);
  if (speeds) fmt::print("{:>10.1f}", row.tokens_per_second.value_or(0));
  fmt::print("\n");
}

}  // namespace

const ReplayRow& ReplayedBudget::row(std::string_view policy) const {
  for (const ReplayRow& row : rows)
    if (row.outcome.policy == policy) return row;
  CHECK(!"a policy that was replayed");
  return rows.front();
}

const ReplayRow& ReplayedBudget::best() const {
  const ReplayRow* best = nullptr;
  for (const ReplayRow& row : rows)
    if (!is_bound(row.outcome.policy) &&
        (best == nullptr || row.outcome.hit_rate > best->outcome.hit_rate))
      best = &row;
  CHECK(best != nullptr);
  return *best;
}

void print_tables(const ReplayedTrace& trace) {
  print_header(trace);
  for (const ReplayedBudget& budget : trace.budgets) {
    const bool sizes = budget.memory != Bytes(0);
    const bool speeds = budget.rows.front().tokens_per_second.has_value();
    fmt::print("\n{}: {}\n", budget.label, memory_text(budget));
    fmt::print("    {:<12}{:>9}{:>12}{:>14}{:>10}{}{}\n", "policy", "hit rate", "to Belady",
               "misses/token", "evicted", sizes ? fmt::format("{:>12}", "MB/token") : "",
               speeds ? fmt::format("{:>10}", "tok/s") : "");
    for (const ReplayRow& row : budget.rows) print_row(budget, row, sizes, speeds);
    fmt::print("  > {}: {}; {:.1f} points below the best\n", budget.chosen, budget.reason,
               100 * budget.below_best);
  }
}

void print_summary(const std::vector<ReplayedTrace>& traces) {
  std::size_t width = 5;
  for (const ReplayedTrace& trace : traces) width = std::max(width, trace.path.size());
  fmt::print("{:<{}}{:>9}  {:<12}{:>9}  {:<12}{:>9}{:>12}{:>9}{:>12}\n", "trace", width, "budget",
             "chosen", "hit rate", "best", "hit rate", "below best", "Belady", "to Belady");
  double worst = 0;
  for (const ReplayedTrace& trace : traces)
    for (const ReplayedBudget& budget : trace.budgets) {
      const ReplayRow& chosen = budget.row(budget.chosen);
      fmt::print("{:<{}}{:>9}  {:<12}{:>7.1f} %  {:<12}{:>7.1f} %{:>12.1f}{:>7.1f} %{:>12.1f}\n",
                 printable(trace.path), width, budget.label, budget.chosen,
                 100 * chosen.outcome.hit_rate, budget.best().outcome.policy,
                 100 * budget.best().outcome.hit_rate, 100 * budget.below_best,
                 100 * budget.row("belady").outcome.hit_rate, 100 * chosen.below_belady);
      worst = std::max(worst, budget.below_best);
    }
  fmt::print("\nfarthest below the best policy: {:.2f} points\n", 100 * worst);
}

void print_csv(const std::vector<ReplayedTrace>& traces) {
  fmt::print(
      "trace,budget,slots,experts,memory_bytes,policy,chosen,hit_rate,below_belady,"
      "misses_per_token,evictions_per_token,bytes_per_token,tokens_per_second\n");
  for (const ReplayedTrace& trace : traces)
    for (const ReplayedBudget& budget : trace.budgets)
      for (const ReplayRow& row : budget.rows) {
        std::string path = trace.path;
        for (std::size_t at = 0; (at = path.find('"', at)) != path.npos; at += 2)
          path.insert(at, 1, '"');
        fmt::print("\"{}\",{},{},{},{},{},{},{:.6f},{:.6f},{:.4f},{:.4f},{:.0f},{}\n", path,
                   budget.label, budget.slots, budget.experts, budget.memory.count,
                   row.outcome.policy, row.outcome.policy == budget.chosen ? 1 : 0,
                   row.outcome.hit_rate, row.below_belady, row.outcome.misses,
                   row.outcome.evictions, row.outcome.bytes,
                   row.tokens_per_second ? fmt::format("{:.2f}", *row.tokens_per_second) : "");
      }
}

namespace {

using Json = nlohmann::ordered_json;

Json row_json(const ReplayRow& row) {
  Json json = {{"policy", row.outcome.policy},
               {"hit_rate", row.outcome.hit_rate},
               {"below_belady", row.below_belady},
               {"misses_per_token", row.outcome.misses},
               {"evictions_per_token", row.outcome.evictions},
               {"bytes_per_token", row.outcome.bytes}};
  if (row.tokens_per_second) json["tokens_per_second"] = *row.tokens_per_second;
  return json;
}

Json budget_json(const ReplayedBudget& budget) {
  Json json = {{"budget", budget.label},         {"slots", budget.slots},
               {"experts", budget.experts},      {"memory_bytes", budget.memory.count},
               {"chosen", budget.chosen},        {"reason", budget.reason},
               {"below_best", budget.below_best}};
  Json& rows = json["policies"] = Json::array();
  for (const ReplayRow& row : budget.rows) rows.push_back(row_json(row));
  return json;
}

Json trace_json(const ReplayedTrace& trace) {
  Json json = {{"trace", trace.path},
               {"origin", trace.header.origin},
               {"workload", trace.header.workload},
               {"model", trace.header.model.name},
               {"layers", trace.header.layers.size()},
               {"experts_per_layer", trace.header.model.experts_per_layer},
               {"experts_per_token", trace.header.experts_per_row},
               {"tokens", trace.tokens},
               {"tokens_learned", trace.learned},
               {"tokens_judged", trace.judged},
               {"start", trace.start},
               {"speed_basis", trace.speed_basis}};
  Json& budgets = json["budgets"] = Json::array();
  for (const ReplayedBudget& budget : trace.budgets) budgets.push_back(budget_json(budget));
  return json;
}

}  // namespace

std::string replay_json(const std::vector<ReplayedTrace>& traces) {
  Json json = {{"traces", Json::array()}};
  for (const ReplayedTrace& trace : traces) json["traces"].push_back(trace_json(trace));
  // Names need not be UTF-8; what is not becomes U+FFFD.
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string replay_page(const std::vector<ReplayedTrace>& traces) {
  return html_page("replay.html", replay_json(traces));
}

}  // namespace hearth::tools
