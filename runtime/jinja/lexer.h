// Cuts the source of a template into tokens.
//
// White space follows the settings that chat templates are written for: the newline after a block
// or a comment goes (trim_blocks), and so does white space between the start of a line and a block
// or comment (lstrip_blocks). "-" beside a mark takes all white space there, "+" keeps it. One
// newline at the end of the source goes, and \r\n counts as \n.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::runtime::jinja {

enum class TokenKind {
  kText,           // outside of marks
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kReal,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text = {};  // of strings: without quotes and escapes
  unsigned line = 0;
  std::int64_t integer = 0;
  double real = 0;

  bool is(TokenKind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
};

inline constexpr std::size_t kMaxTemplateBytes = 1 << 20;

// The last token is kEnd. Throws Error(kBadFile) with the line.
std::vector<Token> tokens_of(std::string_view source);

}  // namespace hearth::runtime::jinja
