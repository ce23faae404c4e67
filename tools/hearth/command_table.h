// A command that is a table of subcommands: `hearth` itself, and those like `hearth profile`.
#pragma once

#include <span>
#include <string_view>

#include "tools/hearth/subcommands.h"

namespace hearth::tools {

inline constexpr int kExitUsage = 2;

struct Subcommand {
  std::string_view name;
  std::string_view summary;
  int (*run)(const Arguments& arguments);
};

struct CommandTable {
  std::string_view command;  // "hearth profile"
  std::string_view summary;  // a sentence or more
  std::span<const Subcommand> subcommands;
  std::string_view footer = {};  // of the help
};

// Runs the subcommand that the first argument names with the arguments after it. --help prints the
// table, and so do no arguments, with kExitUsage. Throws Error(kUsage) for an unknown name.
int run_subcommand(const CommandTable& table, const Arguments& arguments);

const CommandTable& hearth_commands();

}  // namespace hearth::tools
