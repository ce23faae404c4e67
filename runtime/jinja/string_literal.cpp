#include "runtime/jinja/string_literal.h"

#include <charconv>
#include <cstdint>

namespace hearth::runtime::jinja {
namespace {

constexpr std::string_view kNames = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";

// The number of exactly `digits` digits at the front; false where there are fewer.
bool number(std::string_view text, std::size_t digits, int base, char32_t& code) {
  if (text.size() < digits) return false;
  std::uint32_t value = 0;
  const char* const end = text.data() + digits;
  if (std::from_chars(text.data(), end, value, base).ptr != end) return false;
  code = value;
  return value <= 0x10ffff && (value < 0xd800 || value > 0xdfff);
}

// Characters that a numeric escape after a backslash takes; 0 where it is none.
std::size_t numeric_escape(std::string_view text, char32_t& code) {
  const char kind = text[0];
  const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  if (digits > 0) return number(text.substr(1), digits, 16, code) ? digits + 1 : 0;
  std::size_t octal = 0;
  while (octal < 3 && octal < text.size() && text[octal] >= '0' && text[octal] <= '7') ++octal;
  return octal > 0 && number(text, octal, 8, code) ? octal : 0;
}

}  // namespace

void append_utf8(std::string& text, char32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  text += static_cast<char>((0xff00u >> (more + 1) & 0xffu) | code >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80u | (code >> (6 * i) & 0x3fu));
}

std::string unescape_literal(std::string_view written) {
  std::string text;
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (written[i] != '\\' || i + 1 == written.size()) {
      text += written[i];
      continue;
    }
    const std::string_view after = written.substr(i + 1);
    char32_t code = 0;
    if (const std::size_t at = kNames.find(after[0]); at != kNames.npos) {
      text += kMeanings[at];
      i += 1;
    } else if (after[0] == '\n') {
      i += 1;
    } else if (const std::size_t taken = numeric_escape(after, code); taken > 0) {
      append_utf8(text, code);
      i += taken;
    } else {
      text += '\\';
    }
  }
  return text;
}

}  // namespace hearth::runtime::jinja
