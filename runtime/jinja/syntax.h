// A parsed template: statements that hold expressions. Immutable after parsing.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn,
};

enum class ExpressionKind {
  kConstant,     // value
  kName,         // text
  kBody,         // what a block that is filtered has written
  kAttribute,    // parts[0].text
  kItem,         // parts[0][parts[1]]
  kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], any of the last three null
  kCall,         // parts[0](arguments)
  kFilter,       // parts[0] | text(arguments)
  kTest,         // parts[0] is text(arguments)
  kNot,          // parts[0]
  kNegate,       // likewise
  kPlus,         // likewise
  kArithmetic,   // parts[0] operators[0] parts[1]
  kCompare,      // parts[0] operators[0] parts[1] operators[1] parts[2] ...
  kAnd,          // parts, two or more
  kOr,           // likewise
  kConcatenate,  // parts joined as text
  kConditional,  // parts[0] if parts[1] else parts[2], which may be null
  kList,         // parts
  kTuple,        // parts
  kMapping,      // parts: key, value, key, value, ...
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Argument {
  enum class Kind { kPositional, kKeyword, kSpread, kSpreadKeywords };  // x, k=x, *x, **x
  Kind kind = Kind::kPositional;
  std::string name;
  ExpressionPtr value;
};

struct Expression {
  ExpressionKind kind;
  unsigned line = 0;
  unsigned depth = 1;  // of this tree
  std::string text = {};
  Value value = {};
  std::vector<ExpressionPtr> parts = {};
  std::vector<Operator> operators = {};
  std::vector<Argument> arguments = {};
};

// What is assigned to: a name, a field of a namespace, or several.
struct Target {
  std::string name;
  std::string field;          // of the namespace `name`; else empty
  std::vector<Target> parts;  // not empty: a value of as many items
};

struct Parameter {
  std::string name;
  ExpressionPtr default_value;  // may be null
};

enum class StatementKind {
  kText,      // text
  kOutput,    // expression
  kIf,        // branches, otherwise
  kFor,       // target in expression if condition: body, else otherwise
  kSet,       // target = expression
  kSetBlock,  // target = body, through the filters of expression, which may be null
  kMacro,     // text(parameters): body
  kCall,      // expression, a call, with a caller(parameters): body
  kFilter,    // body through expression
  kWith,      // targets[i] = values[i] within body
  kGroup,     // body
  kBreak,
  kContinue,
};

struct Statement;
using Block = std::vector<Statement>;

struct Branch {
  ExpressionPtr condition;
  Block body;
};

struct Statement {
  StatementKind kind;
  unsigned line = 0;
  bool recursive = false;  // of kFor: its body may call loop(items)
  std::string text = {};
  ExpressionPtr expression = {};
  ExpressionPtr condition = {};
  Target target = {};
  std::vector<Branch> branches = {};
  std::vector<Parameter> parameters = {};
  std::vector<std::pair<Target, ExpressionPtr>> assignments = {};
  Block body = {};
  Block otherwise = {};
};

}  // namespace hearth::runtime::jinja
