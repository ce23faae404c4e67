// Where the text of a prompt comes from: --prompt, --file or standard input.
#pragma once

#include <optional>
#include <string>

#include "tools/hearth/command_line.h"

namespace hearth::tools {

class PromptFlags {
 public:
  void add_to(CommandLine& line);
  bool given() const { return prompt_ || file_; }  // else it is to come from standard input
  // Throws Error(kUsage) for none or two sources, Error(kNotFound/kIo) for a file that cannot be
  // read and Error(kBadInput) for an empty text.
  std::string text() const;

 private:
  std::optional<std::string> prompt_;
  std::optional<std::string> file_;
  bool escape_ = true;
};

// The bytes of a file. Throws Error(kNotFound/kIo).
std::string read_text(const std::string& path);

// \n, \t, \r, \\, \', \" and \xNN, as llama.cpp understands them; anything else stays as it is.
std::string unescape(std::string_view text);

}  // namespace hearth::tools
