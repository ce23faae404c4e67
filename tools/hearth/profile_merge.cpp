// hearth profile merge: one profile of several.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "profiler/profile_merge.h"
#include "profiler/profile_toml.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"

namespace hearth::tools {
namespace {

// A profile is never lost by a slip: to be replaced it must be one of those that are merged.
void check_output(const std::string& output, const std::vector<profiler::NamedProfile>& profiles) {
  const auto is_output = [&](const profiler::NamedProfile& profile) {
    return std::filesystem::equivalent(profile.name, output);
  };
  if (std::filesystem::exists(output) && std::none_of(profiles.begin(), profiles.end(), is_output))
    throw_error(ErrorCode::kBadInput,
                "{}: is there already and would be lost; name another file, or merge it, too",
                output);
}

}  // namespace

int profile_merge(const Arguments& arguments) {
  std::vector<std::string> files;
  std::string output;
  CommandLine line("profile merge",
                   "Make one profile of several of the same model: counts add, workloads of one "
                   "label become one.");
  line.add(
      {.names = "-o,--output", .value = "FILE", .help = "the merged profile", .required = true},
      output);
  line.add({.names = "PROFILES",
            .value = "FILE...",
            .help = "profiles, or models that one lies beside",
            .required = true},
           files);
  if (!line.parse(arguments)) return 0;
  // Not declared as written: it may be one of those that are merged.
  refuse_standard_output("--output", output);

  const std::vector<profiler::NamedProfile> profiles = load_named_profiles(files);
  check_output(output, profiles);
  const profiler::MergedProfile merged = profiler::merge_profiles(profiles);
  for (const std::string& note : merged.notes) fmt::print(stderr, "note      {}\n", note);
  profiler::save_profile(output, merged.profile);
  fmt::print(stderr, "merged    {} profiles into {}: {}\n", profiles.size(), output,
             workloads_text(merged.profile));
  return 0;
}

}  // namespace hearth::tools
