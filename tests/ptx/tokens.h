// The words and signs of PTX text.
#pragma once

#include <string_view>
#include <vector>

namespace hearth::ptx {

struct Token {
  std::string_view text;  // a word (with dots, %, $ and ::), a string in quotes, or one sign
  unsigned line;
};

// The last one is empty, for the end. Throws Error.
std::vector<Token> tokens_of(std::string_view text);

}  // namespace hearth::ptx
