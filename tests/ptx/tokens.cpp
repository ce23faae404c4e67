#include "tests/ptx/tokens.h"

#include "tests/ptx/syntax.h"

namespace hearth::ptx {
namespace {

bool in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

}  // namespace

std::vector<Token> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  unsigned line = 1;
  std::size_t at = 0;
  const auto find = [&](std::string_view end, const char* what) {
    const std::size_t found = text.find(end, at);
    if (found == text.npos) fail_at(line, std::string("no end of ") + what);
    return found + end.size();
  };
  while (at < text.size()) {
    const char c = text[at];
    const std::size_t begin = at;
    if (c == '\n') {
      ++line, ++at;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
      ++at;
    } else if (text.substr(at, 2) == "//") {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.substr(at, 2) == "/*") {
      at = find("*/", "a comment");
      for (char inside : text.substr(begin, at - begin)) line += inside == '\n';
    } else if (c == '"') {
      ++at;
      at = find("\"", "a string");
      tokens.push_back({text.substr(begin, at - begin), line});
    } else if (in_word(c)) {
      while (at < text.size() && (in_word(text[at]) || text.substr(at, 2) == "::"))
        at += text[at] == ':' ? 2 : 1;
      tokens.push_back({text.substr(begin, at - begin), line});
    } else {
      tokens.push_back({text.substr(at++, 1), line});
    }
  }
  tokens.push_back({{}, line});
  return tokens;
}

}  // namespace hearth::ptx
