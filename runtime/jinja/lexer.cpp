#include "runtime/jinja/lexer.h"

#include <array>
#include <charconv>

#include "base/error.h"
#include "runtime/jinja/string_literal.h"
#include "runtime/jinja/syntax_error.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";
constexpr std::array<std::string_view, 27> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]",
    "(",  ")",  "{",  "}",  "<",  ">",  "=", ".", ":", "|", ",", ";", "!"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool continues_name(char c) { return starts_name(c) || is_digit(c); }

// Newlines are \n, and the last one of the source is left out.
std::string with_plain_newlines(std::string_view source) {
  std::string text;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r')
      text += source[i];
    else if (i + 1 == source.size() || source[i + 1] != '\n')
      text += '\n';
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_newlines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) outside();
    add(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  // Text up to the next mark, and what stands between that and its end.
  void outside() {
    const std::size_t mark = next_mark();
    if (mark == std::string::npos) return text(source_.size(), false);
    const char kind = source_[mark + 1];
    const char modifier = mark + 2 < source_.size() ? source_[mark + 2] : ' ';
    std::size_t end = mark;
    if (modifier == '-')
      end = end_without_space(mark);
    else if (kind != '{' && modifier != '+')
      end = end_without_indent(mark);
    text(end, true);
    move_to(mark + (modifier == '-' || modifier == '+' ? 3 : 2));
    if (kind == '#') return comment();
    if (kind == '{') return inside(TokenKind::kVariableBegin, TokenKind::kVariableEnd, "}}");
    if (raw()) return;
    inside(TokenKind::kBlockBegin, TokenKind::kBlockEnd, "%}");
  }

  std::size_t next_mark() const {
    for (std::size_t at = source_.find('{', at_); at != std::string::npos;
         at = source_.find('{', at + 1))
      if (at + 1 < source_.size() &&
          (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#'))
        return at;
    return std::string::npos;
  }

  std::size_t end_without_space(std::size_t mark) const {
    std::size_t end = mark;
    while (end > at_ && kSpace.find(source_[end - 1]) != kSpace.npos) --end;
    return end;
  }

  // White space goes where nothing but it stands between the start of the line and the mark.
  std::size_t end_without_indent(std::size_t mark) const {
    std::size_t end = mark;
    while (end > at_ && source_[end - 1] != '\n' && kSpace.find(source_[end - 1]) != kSpace.npos)
      --end;
    const bool line_begins = end > at_ ? source_[end - 1] == '\n' : line_starting_;
    return line_begins ? end : mark;
  }

  void text(std::size_t end, bool before_mark) {
    if (end > at_) add(TokenKind::kText, source_.substr(at_, end - at_));
    if (!before_mark) move_to(end);
  }

  void move_to(std::size_t position) {
    for (; at_ < position; ++at_) line_ += source_[at_] == '\n';
  }

  // After the end of a mark: what "-" and trim_blocks take away.
  void finish_mark(std::size_t end, bool all_space, bool newline) {
    if (all_space)
      while (end < source_.size() && kSpace.find(source_[end]) != kSpace.npos) ++end;
    else if (newline && end < source_.size() && source_[end] == '\n')
      ++end;
    line_starting_ = source_[end - 1] == '\n';
    move_to(end);
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail(line_, "a comment {{# is not closed; add #}}");
    const char modifier = end > at_ ? source_[end - 1] : ' ';
    finish_mark(end + 2, modifier == '-', modifier != '+');
  }

  // {% raw %} ... {% endraw %}; false where it is another block.
  bool raw() {
    std::size_t at = at_;
    const auto word = [&](std::string_view wanted) {
      while (at < source_.size() && kSpace.find(source_[at]) != kSpace.npos) ++at;
      if (!std::string_view(source_).substr(at).starts_with(wanted)) return false;
      at += wanted.size();
      return true;
    };
    if (!word("raw") || (at < source_.size() && continues_name(source_[at]))) return false;
    const unsigned line = line_;
    bool all_space = word("-");
    if (!word("%}")) fail(line_, "raw takes no arguments");
    finish_mark(at, all_space, false);
    for (std::size_t mark = source_.find("{%", at_); mark != std::string::npos;
         mark = source_.find("{%", mark + 2)) {
      at = mark + 2;
      const bool strips = at < source_.size() && source_[at] == '-';
      const bool keeps = at < source_.size() && source_[at] == '+';
      at += strips || keeps;
      if (!word("endraw")) continue;
      all_space = word("-");
      if (!word("%}")) continue;
      text(strips ? end_without_space(mark) : keeps ? mark : end_without_indent(mark), true);
      finish_mark(at, all_space, true);
      return true;
    }
    fail(line, "raw is not closed; add endraw");
  }

  void inside(TokenKind begin, TokenKind end, std::string_view closing) {
    const unsigned line = line_;
    add(begin, {});
    for (std::size_t depth = 0;;) {
      while (at_ < source_.size() && kSpace.find(source_[at_]) != kSpace.npos) move_to(at_ + 1);
      if (at_ == source_.size()) fail(line, "a mark is not closed; add {}", closing);
      const std::string_view rest = std::string_view(source_).substr(at_);
      const std::size_t modifier = rest[0] == '-' || (rest[0] == '+' && closing == "%}");
      if (depth == 0 && rest.substr(modifier).starts_with(closing)) {
        add(end, {});
        return finish_mark(at_ + modifier + 2, modifier == 1 && rest[0] == '-',
                           modifier == 0 && closing == "%}");
      }
      if (rest[0] == '(' || rest[0] == '[' || rest[0] == '{') ++depth;
      if (rest[0] == ')' || rest[0] == ']' || rest[0] == '}') {
        if (depth == 0) fail(line_, "'{}' closes nothing", rest[0]);
        --depth;
      }
      token(rest);
    }
  }

  void token(std::string_view rest) {
    if (starts_name(rest[0])) return name(rest);
    if (is_digit(rest[0])) return number(rest);
    if (rest[0] == '\'' || rest[0] == '"') return string(rest);
    for (std::string_view op : kOperators)
      if (rest.starts_with(op)) {
        add(TokenKind::kOperator, std::string(op));
        return move_to(at_ + op.size());
      }
    fail(line_, "unexpected '{}'", printable(rest.substr(0, 1)));
  }

  void name(std::string_view rest) {
    std::size_t size = 1;
    while (size < rest.size() && continues_name(rest[size])) ++size;
    add(TokenKind::kName, std::string(rest.substr(0, size)));
    move_to(at_ + size);
  }

  void number(std::string_view rest) {
    std::size_t size = 0;
    bool real = false;
    const auto digits = [&] {
      while (size < rest.size() && (is_digit(rest[size]) || rest[size] == '_')) ++size;
    };
    digits();
    if (size + 1 < rest.size() && rest[size] == '.' && is_digit(rest[size + 1]))
      real = true, ++size, digits();
    if (size < rest.size() && (rest[size] == 'e' || rest[size] == 'E')) {
      std::size_t exponent = size + 1;
      exponent += exponent < rest.size() && (rest[exponent] == '+' || rest[exponent] == '-');
      if (exponent < rest.size() && is_digit(rest[exponent]))
        real = true, size = exponent, digits();
    }
    std::string plain;
    for (char c : rest.substr(0, size))
      if (c != '_') plain += c;
    Token token{.kind = real ? TokenKind::kReal : TokenKind::kInteger, .text = plain};
    const char *begin = plain.data(), *end = begin + plain.size();
    const auto result =
        real ? std::from_chars(begin, end, token.real) : std::from_chars(begin, end, token.integer);
    if (result.ec != std::errc() || result.ptr != end)
      fail(line_, "{} is no number of 64 bits", printable(plain));
    token.line = line_;
    tokens_.push_back(std::move(token));
    move_to(at_ + size);
  }

  void string(std::string_view rest) {
    std::size_t end = 1;
    while (end < rest.size() && rest[end] != rest[0]) end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size()) fail(line_, "a string is not closed; add {}", rest[0]);
    add(TokenKind::kString, unescape_literal(rest.substr(1, end - 1)));
    move_to(at_ + end + 1);
  }

  void add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }

  const std::string source_;
  std::size_t at_ = 0;
  unsigned line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) {
  if (source.size() > kMaxTemplateBytes)
    throw_error(ErrorCode::kBadFile, "the template has {} bytes; at most {} are read",
                source.size(), kMaxTemplateBytes);
  return Lexer(source).run();
}

}  // namespace hearth::runtime::jinja
