#include <algorithm>
#include <iterator>

#include "runtime/jinja/parser.h"
#include "runtime/jinja/syntax_error.h"

namespace hearth::runtime::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class StatementParser {
 public:
  explicit StatementParser(std::string_view source) : in_(tokens_of(source)) {}

  Block parse_template() { return parse_block({}); }

 private:
  // Statements up to one of the blocks `ends`, whose name is then the current token.
  Block parse_block(Names ends) {
    const ExpressionParser::Nesting nesting(in_);
    const unsigned opened = in_.current().line;
    Block block;
    for (;;) {
      const Token& token = in_.next();
      switch (token.kind) {
        case TokenKind::kText:
          block.push_back({.kind = StatementKind::kText, .line = token.line, .text = token.text});
          break;
        case TokenKind::kVariableBegin:
          block.push_back({.kind = StatementKind::kOutput, .line = token.line});
          block.back().expression = in_.parse_tuple();
          in_.expect_end(TokenKind::kVariableEnd);
          break;
        case TokenKind::kBlockBegin:
          if (in_.current().kind == TokenKind::kName &&
              std::find(ends.begin(), ends.end(), in_.current().text) != ends.end())
            return block;
          block.push_back(parse_statement());
          break;
        default:
          if (ends.size() == 0) return block;
          fail(opened, "a block is not closed; {} is missing", *std::prev(ends.end()));
      }
    }
  }

  Statement parse_statement() {
    const unsigned line = in_.current().line;
    const std::string name = in_.expect_name();
    Statement statement{.kind = StatementKind::kGroup, .line = line};
    if (name == "if")
      parse_if(statement);
    else if (name == "for")
      parse_for(statement);
    else if (name == "set")
      parse_set(statement);
    else if (name == "macro")
      parse_macro(statement);
    else if (name == "call")
      parse_call(statement);
    else if (name == "filter")
      parse_filter(statement);
    else if (name == "with")
      parse_with(statement);
    else if (name == "generation")  // marks what an assistant said, for training
      parse_body(statement, "endgeneration");
    else if (name == "break" || name == "continue")
      parse_jump(statement, name);
    else
      fail(line, "'{}' is no block that chat templates can use", printable(name));
    in_.expect_end(TokenKind::kBlockEnd);
    return statement;
  }

  void end_block() { in_.expect_end(TokenKind::kBlockEnd); }

  void parse_body(Statement& statement, std::string_view end) {
    end_block();
    statement.body = parse_block({end});
    in_.next();
  }

  void parse_if(Statement& statement) {
    statement.kind = StatementKind::kIf;
    for (;;) {
      Branch branch{.condition = in_.parse_tuple(false), .body = {}};
      end_block();
      branch.body = parse_block({"elif", "else", "endif"});
      statement.branches.push_back(std::move(branch));
      if (in_.skip_name("elif")) continue;
      if (in_.skip_name("else")) {
        end_block();
        statement.otherwise = parse_block({"endif"});
      }
      in_.next();
      return;
    }
  }

  void parse_for(Statement& statement) {
    statement.kind = StatementKind::kFor;
    statement.target = in_.parse_target();
    if (!in_.skip_name("in")) in_.unexpected("in");
    statement.expression = in_.parse_tuple(false);
    if (in_.skip_name("if")) statement.condition = in_.parse_expression();
    statement.recursive = in_.skip_name("recursive");
    end_block();
    ++loops_;
    statement.body = parse_block({"else", "endfor"});
    --loops_;
    if (in_.skip_name("else")) {
      end_block();
      statement.otherwise = parse_block({"endfor"});
    }
    in_.next();
  }

  void parse_set(Statement& statement) {
    statement.target = in_.parse_target();
    if (in_.skip_operator("=")) {
      statement.kind = StatementKind::kSet;
      statement.expression = in_.parse_tuple();
      return;
    }
    statement.kind = StatementKind::kSetBlock;
    statement.expression = in_.parse_filters(body_expression());
    parse_body(statement, "endset");
  }

  void parse_macro(Statement& statement) {
    statement.kind = StatementKind::kMacro;
    statement.text = in_.expect_name();
    statement.parameters = in_.parse_parameters();
    parse_outside_of_loops(statement, "endmacro");
  }

  void parse_call(Statement& statement) {
    statement.kind = StatementKind::kCall;
    if (in_.current().is(TokenKind::kOperator, "(")) statement.parameters = in_.parse_parameters();
    statement.expression = in_.parse_expression();
    if (statement.expression->kind != ExpressionKind::kCall)
      fail(statement.line, "'call' wants the call of a macro");
    parse_outside_of_loops(statement, "endcall");
  }

  void parse_filter(Statement& statement) {
    statement.kind = StatementKind::kFilter;
    statement.expression = in_.parse_filters(in_.parse_filter(body_expression()));
    parse_body(statement, "endfilter");
  }

  void parse_with(Statement& statement) {
    statement.kind = StatementKind::kWith;
    while (in_.current().kind != TokenKind::kBlockEnd) {
      if (!statement.assignments.empty()) in_.expect_operator(",");
      Target target{.name = in_.expect_name(), .field = {}, .parts = {}};
      in_.expect_operator("=");
      statement.assignments.emplace_back(std::move(target), in_.parse_expression());
    }
    parse_body(statement, "endwith");
  }

  void parse_jump(Statement& statement, std::string_view name) {
    if (loops_ == 0) fail(statement.line, "'{}' is outside of a loop", name);
    statement.kind = name == "break" ? StatementKind::kBreak : StatementKind::kContinue;
  }

  // A loop around a macro is not a loop of the macro.
  void parse_outside_of_loops(Statement& statement, std::string_view end) {
    const unsigned loops = std::exchange(loops_, 0);
    parse_body(statement, end);
    loops_ = loops;
  }

  static ExpressionPtr body_expression() {
    return std::make_unique<Expression>(Expression{.kind = ExpressionKind::kBody});
  }

  ExpressionParser in_;
  unsigned loops_ = 0;  // around what is parsed
};

}  // namespace

Block parse(std::string_view source) { return StatementParser(source).parse_template(); }

}  // namespace hearth::runtime::jinja
