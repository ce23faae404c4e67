// Runs the hearth command and keeps what it said.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"

namespace hearth::tools::testing {

struct CommandResult {
  int exit_code = -1;  // 128 + signal, as a shell has it; a command that hangs is killed
  std::string output;  // standard output
  std::string errors;  // standard error
  Bytes peak_memory;   // resident, looked at every other millisecond
};

struct CommandRun {
  std::vector<std::string> arguments;
  std::string input;                                             // of standard input
  std::vector<std::pair<std::string, std::string>> environment;  // added to the test's own
  std::function<void()> prepare = {};         // in the new process, after its streams are set up
  std::function<void(pid_t)> meanwhile = {};  // here, while it runs
  std::string program = HEARTH_BINARY;
};

CommandResult run_hearth(const CommandRun& run);
inline CommandResult run_hearth(std::vector<std::string> arguments) {
  return run_hearth(CommandRun{std::move(arguments), {}, {}});
}

// What the command that runs now has written so far, for `meanwhile`.
std::string output_so_far();
void wait_for_output();  // until there is some

// A path in a folder of this process that is removed at its end.
std::string temporary_path(const std::string& name);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content);

}  // namespace hearth::tools::testing
