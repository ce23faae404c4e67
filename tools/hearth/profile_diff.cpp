// hearth profile diff: how differently two workloads use the experts of a model.
#include <cstdio>

#include "profiler/profile_compare.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

constexpr std::size_t kMostListed = 8;

// "12, 3, 40 and 5 more"
std::string list_text(const std::vector<std::uint16_t>& experts) {
  if (experts.empty()) return "-";
  std::string text;
  for (std::size_t i = 0; i < std::min(kMostListed, experts.size()); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", experts[i]);
  if (experts.size() > kMostListed)
    text += fmt::format(" and {} more", experts.size() - kMostListed);
  return text;
}

void print_figures(std::string_view title, double divergence, double noise,
                   const std::array<double, 3>& overlap) {
  fmt::print("{:<10}{:10.4f} {:9.4f} ", title, divergence, noise);
  for (const double part : overlap) fmt::print(" {:6.0f} %", 100 * part);
}

void print_difference(const profiler::ProfileDifference& difference) {
  fmt::print("{:<10}{:>10} {:>9}  {:^24}  {}\n", "", "divergence", "of noise", "hottest in common",
             "hot in one and cold in the other: A only | B only");
  fmt::print("{:<10}{:>10} {:>9} ", "", "bits", "bits");
  for (const double share : profiler::kHotShares) fmt::print(" {:6.0f} %", 100 * share);
  fmt::print("\n");
  for (const profiler::LayerDifference& layer : difference.layers) {
    print_figures(fmt::format("layer {:3}", layer.layer), layer.divergence, layer.noise,
                  layer.hot_overlap);
    fmt::print("  {} | {}\n", list_text(layer.hot_only_in_first),
               list_text(layer.hot_only_in_second));
  }
  print_figures("all", difference.divergence, difference.noise, difference.hot_overlap);
  fmt::print("  {} | {} experts\n", difference.hot_only_in_first, difference.hot_only_in_second);
  for (const LayerIndex layer : difference.unused)
    fmt::print("layer {:3} is not compared: one of the profiles has no uses of it\n", layer);
}

}  // namespace

int profile_diff(const Arguments& arguments) {
  std::string first, second;
  CommandLine line(
      "profile diff",
      "Compare how two workloads use the experts of one model.\n"
      "The divergence of the choices (Jensen-Shannon) is 0 bits for equal shares and 1 "
      "where no expert is shared.");
  line.add({.names = "A", .value = "FILE", .help = "a profile", .required = true}, first);
  line.add({.names = "B", .value = "FILE", .help = "another of the same model", .required = true},
           second);
  if (!line.parse(arguments)) return 0;

  const profiler::NamedProfile a = load_named_profile(first), b = load_named_profile(second);
  const profiler::ProfileDifference difference = profiler::compare_profiles(a.profile, b.profile);
  fmt::print("A         {}: {}\nB         {}: {}\n", a.name, workloads_text(a.profile), b.name,
             workloads_text(b.profile));
  print_difference(difference);
  return 0;
}

}  // namespace hearth::tools
