// What follows from the figures of a check, in words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "profiler/profile_check.h"

namespace hearth::profiler {
namespace {

// Below this many uses per expert, chance alone moves the share of an expert by more than a fifth
// (1 / sqrt(20) = 22 %).
constexpr double kFewUses = 20;

std::string percent(double part) { return fmt::format("{:.0f} %", 100 * part); }

std::string advice(const BudgetCheck& budget) {
  switch (budget.recommendation) {
    case Recommendation::kStatic:
      return fmt::format("a static set is right: it hits {}, the best cache ({}) {}",
                         percent(budget.static_set), budget.best_policy, percent(budget.best));
    case Recommendation::kRecency:
      return fmt::format("a recency cache is right: lru hits {}, a static set {}",
                         percent(budget.lru), percent(budget.static_set));
    case Recommendation::kBoth:
      return fmt::format(
          "neither a static set nor recency is enough, a policy that weighs both is right: {} hits "
          "{}, lru {}, a static set {}",
          budget.best_policy, percent(budget.best), percent(budget.lru),
          percent(budget.static_set));
  }
  return {};
}

// A line for each run of shares with the same advice, with the figures of its first share.
void add_advice(std::vector<std::string>& lines, const std::vector<BudgetCheck>& budgets) {
  for (std::size_t first = 0; first < budgets.size();) {
    std::size_t last = first;
    while (last + 1 < budgets.size() &&
           budgets[last + 1].recommendation == budgets[first].recommendation)
      ++last;
    const std::string shares =
        first == last
            ? percent(budgets[first].share)
            : fmt::format("{} to {}", percent(budgets[first].share), percent(budgets[last].share));
    std::string line =
        fmt::format("With {} of the experts in memory {}.", shares, advice(budgets[first]));
    if (first != last)
      line.insert(line.size() - 1, fmt::format(" (at {})", percent(budgets[first].share)));
    lines.push_back(std::move(line));
    first = last + 1;
  }
}

// A set drawn blindly hits its share. Of what is left to gain, a static set should get a tenth.
bool is_useless(const BudgetCheck& budget) {
  return budget.static_set - budget.share < 0.1 * (1 - budget.share);
}

void add_static(std::vector<std::string>& lines, const ProfileCheck& check) {
  std::vector<std::string> useless;
  for (const BudgetCheck& budget : check.budgets)
    if (is_useless(budget))
      useless.push_back(
          fmt::format("{} hits {}", percent(budget.share), percent(budget.static_set)));
  if (!useless.empty())
    lines.push_back(
        fmt::format("A static plan does not help: a set of {}, little more than one drawn blindly.",
                    fmt::join(useless, ", of ")));
  if (!check.held_out) return;
  const auto lost = [](const BudgetCheck& budget) { return budget.promised - budget.static_set; };
  const BudgetCheck& most =
      *std::max_element(check.budgets.begin(), check.budgets.end(),
                        [&](const auto& a, const auto& b) { return lost(a) < lost(b); });
  if (lost(most) < 0.05) {
    lines.push_back("What is hot in the profile is hot in the trace too: it carries over.");
  } else {
    lines.push_back(fmt::format(
        "The profile's hottest {} took {} of its own uses but take {} of the trace's: the texts "
        "differ, and a static plan helps only on texts like the recorded ones.",
        percent(most.share), percent(most.promised), percent(most.static_set)));
  }
}

void add_start(std::vector<std::string>& lines, const ProfileCheck& check) {
  if (!check.held_out) return;
  const auto gain = [](const BudgetCheck& budget) {
    return budget.start_seeded - budget.start_empty;
  };
  const BudgetCheck& most =
      *std::max_element(check.budgets.begin(), check.budgets.end(),
                        [&](const auto& a, const auto& b) { return gain(a) < gain(b); });
  lines.push_back(fmt::format(
      "Begun with the profile's hottest experts, a cache of {} hits {} in its first {} steps, "
      "begun empty {}.",
      percent(most.share), percent(most.start_seeded), kStartSteps, percent(most.start_empty)));
}

void add_skew(std::vector<std::string>& lines, const ProfileCheck& check) {
  const LayerSkew& total = check.total;
  lines.push_back(fmt::format(
      "Half of all uses go to {} of {} experts ({}), nine tenths to {} ({}); entropy {:.2f}, Gini "
      "{:.2f}.",
      total.for_half, total.experts, percent(static_cast<double>(total.for_half) / total.experts),
      total.for_nine_tenths, percent(static_cast<double>(total.for_nine_tenths) / total.experts),
      total.entropy, total.gini));
  if (total.reused_soon > 0)
    lines.push_back(fmt::format("{} of the uses are of experts used less than 8 tokens before.",
                                percent(total.reused_soon)));
}

void add_depth(std::vector<std::string>& lines, const ProfileCheck& check) {
  const DepthCheck& depth = check.depth;
  if (check.layers.size() < 2) return;
  std::string line = fmt::format("Early layers have entropy {:.2f}, late ones {:.2f}",
                                 depth.entropy_early, depth.entropy_late);
  if (check.held_out && !check.budgets.empty())
    line += fmt::format("; at {} lru hits {} in early and {} in late ones",
                        percent(check.budgets.back().share), percent(depth.hits_early),
                        percent(depth.hits_late));
  if (std::abs(depth.entropy_early - depth.entropy_late) >= 0.05)
    line += fmt::format(": the {} ones spread more and gain less from a static set",
                        depth.entropy_early > depth.entropy_late ? "early" : "late");
  lines.push_back(line + '.');
}

}  // namespace

std::vector<std::string> findings_of(const ProfileCheck& check) {
  if (check.tokens == 0) return {"Nothing was recorded yet: nothing follows."};
  std::vector<std::string> lines;
  add_advice(lines, check.budgets);
  if (check.budgets.empty())
    lines.push_back(
        "Whether a static set or a cache is right is unknown: no routing was replayed. A trace "
        "would tell.");
  else
    add_static(lines, check), add_start(lines, check);
  add_skew(lines, check);
  add_depth(lines, check);
  if (check.uses_per_expert < kFewUses)
    lines.push_back(fmt::format(
        "Few tokens were recorded, {:.1f} uses per expert: all figures above are rough.",
        check.uses_per_expert));
  return lines;
}

}  // namespace hearth::profiler
