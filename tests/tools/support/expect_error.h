// What every failure of the command looks like: one line that says what, where and what to do.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {

constexpr int kFailed = 1;
constexpr int kMisused = 2;

enum class Before {
  kNothing,  // the command failed before it had anything to tell
  kReport,   // lines that describe the model may come first
};

// The line of the error, of which each of `parts` must be a part.
inline std::string expect_error(const CommandResult& result, int exit_code,
                                const std::vector<std::string_view>& parts,
                                Before before = Before::kNothing) {
  constexpr std::string_view kMark = "hearth: error: ";
  EXPECT_EQ(result.exit_code, exit_code) << result.errors;
  const std::size_t at = result.errors.find(kMark);
  if (at == std::string::npos) {
    ADD_FAILURE() << "no error in: " << result.errors;
    return {};
  }
  EXPECT_TRUE(at == 0 || (before == Before::kReport && result.errors[at - 1] == '\n'))
      << result.errors;
  const std::string line = result.errors.substr(at + kMark.size());
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << result.errors;
  EXPECT_EQ(line.back(), '\n') << result.errors;
  for (const std::string_view part : parts)
    EXPECT_NE(line.find(part), line.npos) << "'" << part << "' is not in: " << line;
  return line;
}

}  // namespace hearth::tools::testing
