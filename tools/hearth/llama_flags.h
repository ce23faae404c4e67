// The spellings of llama.cpp's command line that its users have in their fingers.
#pragma once

#include <string_view>

namespace hearth::tools {

// One flag of llama.cpp in all its spellings, separated by spaces; the last is the name that it has
// here. Where no subcommand can give it an effect, `reason` says why and what to use instead.
struct LlamaFlag {
  std::string_view spellings;
  std::string_view reason;

  std::string_view name() const { return spellings.substr(spellings.rfind(' ') + 1); }
};

// Null for a flag that llama.cpp does not have either. A subcommand that declares a flag of the
// same spelling means its own.
const LlamaFlag* find_llama_flag(std::string_view spelling);

}  // namespace hearth::tools
