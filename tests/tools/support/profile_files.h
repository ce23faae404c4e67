// Texts and profiles for tests of `hearth profile`, made once per process.
#pragma once

#include <string>
#include <vector>

#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {

inline const std::string kTinyModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
inline const std::string kDemoModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

using Strings = std::vector<std::string>;

inline CommandResult run_ok(const Strings& arguments) {
  CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return result;
}

// The first bytes of models/eval/<name>.txt as a file of their own.
inline std::string short_text(const std::string& name, std::size_t bytes = 4000) {
  const std::string path = temporary_path(name + ".txt");
  write_file(path, read_file(HEARTH_SOURCE_DIR "/models/eval/" + name + ".txt").substr(0, bytes));
  return path;
}

inline Strings record_arguments(const std::string& name, const std::string& output,
                                const Strings& more = {}, const std::string& context = "128") {
  Strings arguments = {"profile", "record", "-m",         kDemoModel, "-f", short_text(name),
                       "-o",      output,   "-c",         context,    "-t", "2",
                       "--io",    "pread",  "--workload", name};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// A profile of the demo model, of the text of that name.
inline const std::string& recorded_profile(const std::string& name) {
  static std::vector<std::pair<std::string, std::string>> recorded;
  for (const auto& [made, path] : recorded)
    if (made == name) return path;
  recorded.reserve(8);  // references stay valid
  const std::string path = temporary_path(name + ".profile.toml");
  run_ok(record_arguments(name, path));
  return recorded.emplace_back(name, path).second;
}

}  // namespace hearth::tools::testing
