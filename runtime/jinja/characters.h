// Characters of UTF-8 text, as Python counts them. A byte that belongs to none is one of its own.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/jinja/text.h"

namespace hearth::runtime::jinja {

struct Character {
  char32_t code;
  std::size_t bytes;
};

Character character_at(std::string_view text, std::size_t at);
bool is_space(char32_t code);     // str.isspace of Python
bool is_line_end(char32_t code);  // where str.splitlines cuts
std::size_t character_count(std::string_view text);
std::vector<std::size_t> character_starts(std::string_view text);  // and the end of the text

// What str.strip cuts: white space, or the characters of `set` where that is given.
struct Strip {
  bool left = true;
  bool right = true;
  const Text* set = nullptr;
};
Text strip(const Text& text, const Strip& how);

}  // namespace hearth::runtime::jinja
