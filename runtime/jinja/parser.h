// Tokens to statements. Two layers: what may stand between {{ and }} is parsed by ExpressionParser,
// blocks by parse().
//
// Nesting is bounded, so that neither parsing nor evaluating nor freeing a tree can exhaust the
// stack.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "runtime/jinja/lexer.h"
#include "runtime/jinja/syntax.h"

namespace hearth::runtime::jinja {

inline constexpr unsigned kMaxNesting = 120;

// Throws Error(kBadFile) with the line.
Block parse(std::string_view source);

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // A condition or value; parse_tuple() also takes several, separated by commas.
  ExpressionPtr parse_expression();
  ExpressionPtr parse_tuple(bool conditional = true);
  Target parse_target();
  std::vector<Parameter> parse_parameters();
  // "| a | b(c)" applied to `input`; one filter, without its "|".
  ExpressionPtr parse_filters(ExpressionPtr input);
  ExpressionPtr parse_filter(ExpressionPtr input);

  const Token& current() const { return tokens_[at_]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_operator(std::string_view text);
  std::string expect_name();
  void expect_end(TokenKind end);
  [[noreturn]] void unexpected(std::string_view wanted) const;

  // Counts how deep the parser is in itself while it lives.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_string();
  ExpressionPtr parse_list();
  ExpressionPtr parse_mapping();
  ExpressionPtr parse_parenthesis();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr node);
  ExpressionPtr parse_test(ExpressionPtr input);
  ExpressionPtr parse_subscript(ExpressionPtr node);
  std::vector<Argument> parse_arguments();
  Target parse_single_target();
  bool at_operator(std::string_view text) const { return current().is(TokenKind::kOperator, text); }
  bool at_name(std::string_view text) const { return current().is(TokenKind::kName, text); }
  bool ends_tuple() const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  unsigned nesting_ = 0;
};

}  // namespace hearth::runtime::jinja
