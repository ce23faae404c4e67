// hearth profile show: what a profile holds, on the terminal or as a page.
#include <cstdio>

#include "base/error.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_page.h"
#include "tools/hearth/profile_text.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

void print(const profiler::NamedProfile& named, bool hottest_first) {
  fmt::print("profile   {}\nmodel     {}\nrecorded  {}\n", named.name, model_text(named.profile),
             workloads_text(named.profile));
  print_heat(named.profile, terminal_of(stdout), hottest_first);
  print_reuse(named.profile);
  print_curves(named.profile);
}

}  // namespace

int profile_show(const Arguments& arguments) {
  std::vector<std::string> files;
  std::string html;
  bool hottest_first = false;
  CommandLine line(
      "profile show",
      "Show how hot the experts of a model are, how soon they are used again, and what "
      "memory for some of them gives.");
  line.add({.names = "PROFILES",
            .value = "FILE...",
            .help = "profiles, or models that one lies beside",
            .required = true},
           files);
  line.add({.names = "--html",
            .value = "FILE|-",
            .help = "write a page to explore instead; it is one file and opens offline",
            .writes = true},
           html);
  line.add({.names = "--hottest-first", .help = "order the experts of a layer by heat"},
           hottest_first);
  if (!line.parse(arguments)) return 0;
  if (!html.empty() && hottest_first)
    throw_error(ErrorCode::kUsage,
                "--hottest-first has no effect with --html; the page can do both");

  const std::vector<profiler::NamedProfile> profiles = load_named_profiles(files);
  if (!html.empty()) {
    write_output(html, profile_page(profiles));
    fmt::print(stderr, "wrote     {}\n", html);
    return 0;
  }
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    if (i > 0) fmt::print("\n");
    print(profiles[i], hottest_first);
  }
  return 0;
}

}  // namespace hearth::tools
