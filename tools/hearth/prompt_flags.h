// Where a text comes from: an argument, a file or standard input.
#pragma once

#include <string>
#include <string_view>

#include "tools/hearth/command_line.h"

namespace hearth::tools {

class PromptFlags {
 public:
  void add_to(CommandLine& line);

  // After parsing. Throws Error(kUsage) unless exactly one source was named.
  std::string read() const;

 private:
  std::optional<std::string> prompt_;
  std::optional<std::string> file_;
  bool standard_input_ = false;
  bool no_escape_ = false;
};

// Replaces \n, \r, \t, \', \", \\ and \xHH; any other backslash stays.
std::string process_escapes(std::string_view text);

// The bytes of a file, "-" for standard input. Throws Error.
std::string read_text(const std::string& path);

}  // namespace hearth::tools
