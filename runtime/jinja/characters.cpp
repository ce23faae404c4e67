#include "runtime/jinja/characters.h"

#include <algorithm>

#include "base/utf8.h"

namespace hearth::runtime::jinja {

Character character_at(std::string_view text, std::size_t at) {
  const std::size_t bytes = valid_utf8_length(text.substr(at));
  if (bytes == 0)  // as Python's surrogateescape has it
    return {0xdc00u + static_cast<unsigned char>(text[at]), 1};
  return {code_point(text.substr(at, bytes)), bytes};
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

bool is_line_end(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += character_at(text, at).bytes) ++count;
  return count;
}

std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < text.size(); at += character_at(text, at).bytes)
    starts.push_back(at);
  starts.push_back(text.size());
  return starts;
}

Text strip(const Text& text, const Strip& how) {
  std::vector<char32_t> set;
  if (how.set != nullptr)
    for (std::size_t at = 0; at < how.set->size();) {
      const Character c = character_at(how.set->view(), at);
      set.push_back(c.code);
      at += c.bytes;
    }
  const auto goes = [&](char32_t code) {
    return how.set == nullptr ? is_space(code)
                              : std::find(set.begin(), set.end(), code) != set.end();
  };
  // One pass: `end` follows the last character that stays.
  std::size_t begin = 0, end = 0;
  bool stays = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.view(), at);
    if (!goes(c.code)) {
      if (!stays) begin = at;
      stays = true;
      end = at + c.bytes;
    }
    at += c.bytes;
  }
  if (!stays && (how.left || how.right)) return {};
  if (!how.left) begin = 0;
  if (!how.right) end = text.size();
  return text.part(begin, end - begin);
}

}  // namespace hearth::runtime::jinja
