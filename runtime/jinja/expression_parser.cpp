#include <array>
#include <optional>

#include "runtime/jinja/parser.h"
#include "runtime/jinja/syntax_error.h"

namespace hearth::runtime::jinja {
namespace {

struct Spelling {
  std::string_view text;
  Operator op;
};
constexpr std::array<Spelling, 2> kSums = {{{"+", Operator::kAdd}, {"-", Operator::kSubtract}}};
constexpr std::array<Spelling, 4> kProducts = {{{"*", Operator::kMultiply},
                                                {"/", Operator::kDivide},
                                                {"//", Operator::kFloorDivide},
                                                {"%", Operator::kModulo}}};
constexpr std::array<Spelling, 6> kComparisons = {{{"==", Operator::kEqual},
                                                   {"!=", Operator::kNotEqual},
                                                   {"<", Operator::kLess},
                                                   {"<=", Operator::kLessOrEqual},
                                                   {">", Operator::kGreater},
                                                   {">=", Operator::kGreaterOrEqual}}};

template <std::size_t kCount>
std::optional<Operator> operator_of(const Token& token, const std::array<Spelling, kCount>& table) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  for (const Spelling& spelling : table)
    if (spelling.text == token.text) return spelling.op;
  return std::nullopt;
}

void deepen(Expression& node, const ExpressionPtr& part) {
  if (part == nullptr) return;
  node.depth = std::max(node.depth, part->depth + 1);
  if (node.depth > kMaxNesting)
    fail(node.line, "an expression is nested more than {} deep", kMaxNesting);
}

ExpressionPtr make(ExpressionKind kind, unsigned line, std::string text = {}) {
  return std::make_unique<Expression>(
      Expression{.kind = kind, .line = line, .text = std::move(text)});
}

void add(Expression& node, ExpressionPtr part) {
  deepen(node, part);
  node.parts.push_back(std::move(part));
}

void add_arguments(Expression& node, std::vector<Argument> arguments) {
  for (const Argument& argument : arguments) deepen(node, argument.value);
  node.arguments = std::move(arguments);
}

ExpressionPtr constant(unsigned line, Value value) {
  ExpressionPtr node = make(ExpressionKind::kConstant, line);
  node->value = std::move(value);
  return node;
}

ExpressionPtr arithmetic(unsigned line, Operator op, ExpressionPtr left, ExpressionPtr right) {
  ExpressionPtr node = make(ExpressionKind::kArithmetic, line);
  node->operators = {op};
  add(*node, std::move(left));
  add(*node, std::move(right));
  return node;
}

}  // namespace

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.nesting_ <= kMaxNesting) return;
  --parser_.nesting_;
  fail(parser_.current().line, "the template is nested more than {} deep", kMaxNesting);
}

void ExpressionParser::unexpected(std::string_view wanted) const {
  const Token& token = current();
  const bool outside = token.kind == TokenKind::kText || token.kind == TokenKind::kEnd ||
                       token.kind == TokenKind::kVariableBegin ||
                       token.kind == TokenKind::kBlockBegin;
  const std::string found = outside                                 ? "the end"
                            : token.kind == TokenKind::kVariableEnd ? "}}"
                            : token.kind == TokenKind::kBlockEnd    ? "%}"
                                                                    : printable(token.text);
  fail(token.line, "expected {}, found '{}'", wanted, found);
}

bool ExpressionParser::skip_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  next();
  return true;
}

bool ExpressionParser::skip_name(std::string_view text) {
  if (!at_name(text)) return false;
  next();
  return true;
}

void ExpressionParser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) unexpected(text);
}

std::string ExpressionParser::expect_name() {
  if (current().kind != TokenKind::kName) unexpected("a name");
  return next().text;
}

void ExpressionParser::expect_end(TokenKind end) {
  if (current().kind != end) unexpected(end == TokenKind::kBlockEnd ? "%}" : "}}");
  next();
}

ExpressionPtr ExpressionParser::parse_expression() {
  const Nesting nesting(*this);
  ExpressionPtr node = parse_or();
  while (at_name("if")) {
    ExpressionPtr conditional = make(ExpressionKind::kConditional, next().line);
    add(*conditional, std::move(node));
    add(*conditional, parse_or());
    add(*conditional, skip_name("else") ? parse_expression() : nullptr);
    node = std::move(conditional);
  }
  return node;
}

bool ExpressionParser::ends_tuple() const {
  return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
         at_operator(")") || at_name("recursive") || at_name("in");
}

ExpressionPtr ExpressionParser::parse_tuple(bool conditional) {
  const unsigned line = current().line;
  const auto part = [&] { return conditional ? parse_expression() : parse_or(); };
  ExpressionPtr first = part();
  if (!at_operator(",")) return first;
  ExpressionPtr tuple = make(ExpressionKind::kTuple, line);
  add(*tuple, std::move(first));
  while (skip_operator(",") && !ends_tuple()) add(*tuple, part());
  return tuple;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr node = parse_and();
  if (!at_name("or")) return node;
  ExpressionPtr any = make(ExpressionKind::kOr, current().line);
  add(*any, std::move(node));
  while (skip_name("or")) add(*any, parse_and());
  return any;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr node = parse_not();
  if (!at_name("and")) return node;
  ExpressionPtr all = make(ExpressionKind::kAnd, current().line);
  add(*all, std::move(node));
  while (skip_name("and")) add(*all, parse_not());
  return all;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nesting nesting(*this);
  ExpressionPtr node = make(ExpressionKind::kNot, next().line);
  add(*node, parse_not());
  return node;
}

ExpressionPtr ExpressionParser::parse_compare() {
  ExpressionPtr left = parse_sum();
  ExpressionPtr chain;
  for (;;) {
    std::optional<Operator> op = operator_of(current(), kComparisons);
    const bool not_in =
        at_name("not") && at_ + 1 < tokens_.size() && tokens_[at_ + 1].is(TokenKind::kName, "in");
    if (at_name("in")) op = Operator::kIn;
    if (not_in) op = Operator::kNotIn;
    if (!op) return chain == nullptr ? std::move(left) : std::move(chain);
    const unsigned line = next().line;
    if (not_in) next();
    if (chain == nullptr) {
      chain = make(ExpressionKind::kCompare, line);
      add(*chain, std::move(left));
    }
    chain->operators.push_back(*op);
    add(*chain, parse_sum());
  }
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr node = parse_concatenation();
  while (const auto op = operator_of(current(), kSums)) {
    const unsigned line = next().line;
    node = arithmetic(line, *op, std::move(node), parse_concatenation());
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  ExpressionPtr node = parse_product();
  if (!at_operator("~")) return node;
  ExpressionPtr joined = make(ExpressionKind::kConcatenate, current().line);
  add(*joined, std::move(node));
  while (skip_operator("~")) add(*joined, parse_product());
  return joined;
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr node = parse_power();
  while (const auto op = operator_of(current(), kProducts)) {
    const unsigned line = next().line;
    node = arithmetic(line, *op, std::move(node), parse_power());
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr node = parse_unary(true);
  while (at_operator("**")) {
    const unsigned line = next().line;
    node = arithmetic(line, Operator::kPower, std::move(node), parse_unary(true));
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  ExpressionPtr node;
  if (at_operator("-") || at_operator("+")) {
    const Token& sign = next();
    node = make(sign.text == "-" ? ExpressionKind::kNegate : ExpressionKind::kPlus, sign.line);
    add(*node, parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName:
      next();
      if (token.text == "true" || token.text == "True")
        return constant(token.line, Value::boolean(true));
      if (token.text == "false" || token.text == "False")
        return constant(token.line, Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(token.line, Value::none());
      return make(ExpressionKind::kName, token.line, token.text);
    case TokenKind::kString:
      return parse_string();
    case TokenKind::kInteger:
      next();
      return constant(token.line, Value::integer(token.integer));
    case TokenKind::kReal:
      next();
      return constant(token.line, Value::real(token.real));
    default:
      break;
  }
  if (at_operator("(")) return parse_parenthesis();
  if (at_operator("[")) return parse_list();
  if (at_operator("{")) return parse_mapping();
  unexpected("a value");
}

// Strings beside one another are one, as in Python.
ExpressionPtr ExpressionParser::parse_string() {
  const unsigned line = current().line;
  std::string text;
  while (current().kind == TokenKind::kString) text += next().text;
  return constant(line, Value::text(text));
}

ExpressionPtr ExpressionParser::parse_parenthesis() {
  const unsigned line = next().line;
  if (skip_operator(")")) return make(ExpressionKind::kTuple, line);
  ExpressionPtr node = parse_tuple();
  expect_operator(")");
  return node;
}

ExpressionPtr ExpressionParser::parse_list() {
  ExpressionPtr list = make(ExpressionKind::kList, next().line);
  while (!at_operator("]")) {
    add(*list, parse_expression());
    if (!at_operator("]")) expect_operator(",");
  }
  next();
  return list;
}

ExpressionPtr ExpressionParser::parse_mapping() {
  ExpressionPtr mapping = make(ExpressionKind::kMapping, next().line);
  while (!at_operator("}")) {
    add(*mapping, parse_expression());
    expect_operator(":");
    add(*mapping, parse_expression());
    if (!at_operator("}")) expect_operator(",");
  }
  next();
  return mapping;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr node) {
  for (;;) {
    if (at_operator(".") || at_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (at_operator("(")) {
      ExpressionPtr call = make(ExpressionKind::kCall, current().line);
      add(*call, std::move(node));
      add_arguments(*call, parse_arguments());
      node = std::move(call);
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr node) {
  const unsigned line = current().line;
  if (skip_operator(".")) {
    const Token& token = next();
    if (token.kind == TokenKind::kName) {
      ExpressionPtr attribute = make(ExpressionKind::kAttribute, line, token.text);
      add(*attribute, std::move(node));
      return attribute;
    }
    if (token.kind != TokenKind::kInteger) fail(line, "expected a name or a number after '.'");
    ExpressionPtr item = make(ExpressionKind::kItem, line);
    add(*item, std::move(node));
    add(*item, constant(line, Value::integer(token.integer)));
    return item;
  }
  next();
  ExpressionPtr bounds[3];
  bool slice = false;
  for (int i = 0; i < 3; ++i) {
    if (!at_operator(":") && !at_operator("]")) bounds[i] = parse_expression();
    if (i == 2 || !skip_operator(":")) break;
    slice = true;
  }
  expect_operator("]");
  if (!slice && bounds[0] == nullptr) fail(line, "[] needs an index");
  ExpressionPtr item = make(slice ? ExpressionKind::kSlice : ExpressionKind::kItem, line);
  add(*item, std::move(node));
  for (int i = 0; i < (slice ? 3 : 1); ++i) add(*item, std::move(bounds[i]));
  return item;
}

std::vector<Argument> ExpressionParser::parse_arguments() {
  expect_operator("(");
  std::vector<Argument> arguments;
  while (!at_operator(")")) {
    Argument argument;
    if (skip_operator("**")) {
      argument.kind = Argument::Kind::kSpreadKeywords;
    } else if (skip_operator("*")) {
      argument.kind = Argument::Kind::kSpread;
    } else if (current().kind == TokenKind::kName && at_ + 1 < tokens_.size() &&
               tokens_[at_ + 1].is(TokenKind::kOperator, "=")) {
      argument.kind = Argument::Kind::kKeyword;
      argument.name = next().text;
      next();
    } else if (!arguments.empty() && arguments.back().kind != Argument::Kind::kPositional) {
      fail(current().line, "a positional argument follows another kind");
    }
    argument.value = parse_expression();
    arguments.push_back(std::move(argument));
    if (!at_operator(")")) expect_operator(",");
  }
  next();
  return arguments;
}

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr node) {
  for (;;) {
    if (skip_operator("|"))
      node = parse_filter(std::move(node));
    else if (at_name("is"))
      node = parse_test(std::move(node));
    else if (at_operator("("))
      node = parse_postfix(std::move(node));
    else
      return node;
  }
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr input) {
  while (skip_operator("|")) input = parse_filter(std::move(input));
  return input;
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr input) {
  const unsigned line = current().line;
  ExpressionPtr filter = make(ExpressionKind::kFilter, line, expect_name());
  add(*filter, std::move(input));
  if (at_operator("(")) add_arguments(*filter, parse_arguments());
  return filter;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr input) {
  const unsigned line = next().line;
  const bool negated = skip_name("not");
  ExpressionPtr test = make(ExpressionKind::kTest, line, expect_name());
  add(*test, std::move(input));
  const bool value_follows =
      current().kind == TokenKind::kString || current().kind == TokenKind::kInteger ||
      current().kind == TokenKind::kReal || at_operator("[") || at_operator("{") ||
      (current().kind == TokenKind::kName && !at_name("else") && !at_name("or") &&
       !at_name("and") && !at_name("if"));
  if (at_operator("(")) {
    add_arguments(*test, parse_arguments());
  } else if (value_follows) {
    if (at_name("is")) fail(line, "tests cannot be chained with 'is'");
    std::vector<Argument> arguments(1);
    arguments[0].value = parse_postfix(parse_primary());
    add_arguments(*test, std::move(arguments));
  }
  if (!negated) return test;
  ExpressionPtr opposite = make(ExpressionKind::kNot, line);
  add(*opposite, std::move(test));
  return opposite;
}

Target ExpressionParser::parse_single_target() {
  const Nesting nesting(*this);
  if (skip_operator("(")) {
    Target target = parse_target();
    expect_operator(")");
    return target;
  }
  Target target{.name = expect_name(), .field = {}, .parts = {}};
  if (skip_operator(".")) target.field = expect_name();
  return target;
}

Target ExpressionParser::parse_target() {
  Target first = parse_single_target();
  if (!at_operator(",")) return first;
  Target all;
  all.parts.push_back(std::move(first));
  while (skip_operator(",") && !ends_tuple() && !at_operator("="))
    all.parts.push_back(parse_single_target());
  return all;
}

std::vector<Parameter> ExpressionParser::parse_parameters() {
  expect_operator("(");
  std::vector<Parameter> parameters;
  while (!at_operator(")")) {
    Parameter parameter{.name = expect_name(), .default_value = nullptr};
    if (skip_operator("="))
      parameter.default_value = parse_expression();
    else if (!parameters.empty() && parameters.back().default_value != nullptr)
      fail(current().line, "parameter {} without a default follows one that has it",
           printable(parameter.name));
    parameters.push_back(std::move(parameter));
    if (!at_operator(")")) expect_operator(",");
  }
  next();
  return parameters;
}

}  // namespace hearth::runtime::jinja
