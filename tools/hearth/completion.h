// What completes the words of a command line, for three shells: subcommands, flags, and those
// values of flags that are known words or files.
#pragma once

#include <string>
#include <vector>

#include "tools/hearth/command_description.h"

namespace hearth::tools {

// Of the commands that describe() collects.
std::string bash_completion(const std::vector<CommandDescription>& commands);
std::string zsh_completion(const std::vector<CommandDescription>& commands);
std::string fish_completion(const std::vector<CommandDescription>& commands);

}  // namespace hearth::tools
