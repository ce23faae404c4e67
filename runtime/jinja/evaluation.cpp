// Expressions: the other half of the interpreter.
#include "base/error.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/tests.h"

namespace hearth::runtime::jinja {
namespace {

std::optional<std::int64_t> bound_of(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (value.is_integer()) return value.as_integer();
  require_defined(value);
  throw_error(ErrorCode::kBadInput, "a slice is bounded by integers, not {}", value.kind());
}

}  // namespace

Value Interpreter::evaluate(const Expression& expression) {
  const Depth depth(*this);
  const unsigned outer = std::exchange(line_, expression.line == 0 ? line_ : expression.line);
  Value value = evaluate_node(expression);
  line_ = outer;
  return value;
}

Value Interpreter::evaluate_node(const Expression& e) {
  switch (e.kind) {
    case ExpressionKind::kConstant:
      return e.value;
    case ExpressionKind::kName:
      return evaluate_name(e);
    case ExpressionKind::kBody:
      return body_;
    case ExpressionKind::kAttribute:
      return attribute_of(evaluate(*e.parts[0]), e.text);
    case ExpressionKind::kItem: {
      const Value object = evaluate(*e.parts[0]);
      if (const Text* text = object.as_text()) charge_bytes(text->size());
      return item_of(object, evaluate(*e.parts[1]));
    }
    case ExpressionKind::kSlice:
      return evaluate_slice(e);
    case ExpressionKind::kCall:
      return evaluate_call(e);
    case ExpressionKind::kFilter: {
      Value input = evaluate(*e.parts[0]);
      return apply_filter(e.text, std::move(input), evaluate_arguments(e.arguments));
    }
    case ExpressionKind::kTest: {
      const Value input = evaluate(*e.parts[0]);
      return Value::boolean(apply_test(e.text, input, evaluate_arguments(e.arguments)));
    }
    case ExpressionKind::kNot:
      return Value::boolean(!evaluate(*e.parts[0]).truth());
    case ExpressionKind::kNegate:
      return negated(evaluate(*e.parts[0]));
    case ExpressionKind::kPlus: {
      Value value = evaluate(*e.parts[0]);
      if (!value.is_number())
        throw_error(ErrorCode::kBadInput, "+ cannot be applied to {}", value.kind());
      return value.is_boolean() ? Value::integer(value.as_integer()) : value;
    }
    case ExpressionKind::kArithmetic: {
      const Value left = evaluate(*e.parts[0]), right = evaluate(*e.parts[1]);
      Value result = arithmetic(e.operators[0], left, right);
      charge_for(result);
      return result;
    }
    case ExpressionKind::kCompare:
      return evaluate_compare(e);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      Value value;
      for (const ExpressionPtr& part : e.parts) {
        value = evaluate(*part);
        if (value.truth() == (e.kind == ExpressionKind::kOr)) break;
      }
      return value;
    }
    case ExpressionKind::kConcatenate:
      return concatenate(e);
    case ExpressionKind::kConditional:
      if (evaluate(*e.parts[1]).truth()) return evaluate(*e.parts[0]);
      if (e.parts[2] != nullptr) return evaluate(*e.parts[2]);
      return Value::undefined("the inline if has no else, and its condition is false");
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
      return Value::list(evaluate_all(e.parts),
                         e.kind == ExpressionKind::kTuple ? ListKind::kTuple : ListKind::kList);
    case ExpressionKind::kMapping: {
      std::vector<std::pair<Value, Value>> entries;
      for (std::size_t i = 0; i < e.parts.size(); i += 2) {
        Value key = evaluate(*e.parts[i]);
        entries.emplace_back(std::move(key), evaluate(*e.parts[i + 1]));
        charge(entries.size());
      }
      return Value::mapping(std::move(entries));
    }
  }
  return {};
}

Value Interpreter::evaluate_name(const Expression& expression) {
  if (const Value* value = scope_->find(expression.text)) return *value;
  return Value::undefined(fmt::format("'{}' is undefined", printable(expression.text)));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  values.reserve(parts.size());
  for (const ExpressionPtr& part : parts) values.push_back(evaluate(*part));
  return values;
}

CallArguments Interpreter::evaluate_arguments(const std::vector<Argument>& arguments) {
  CallArguments all;
  for (const Argument& argument : arguments) {
    Value value = evaluate(*argument.value);
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        all.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kKeyword:
        all.keywords.emplace_back(argument.name, std::move(value));
        break;
      case Argument::Kind::kSpread:
        charge_for(value);
        for (Value& item : items_of(value)) all.positional.push_back(std::move(item));
        break;
      case Argument::Kind::kSpreadKeywords:
        if (value.as_mapping() == nullptr)
          throw_error(ErrorCode::kBadInput, "** wants a mapping, not {}", value.kind());
        for (const auto& [name, held] : value.as_mapping()->entries)
          all.keywords.emplace_back(to_text(name).bytes(), held);
        break;
    }
  }
  return all;
}

Value Interpreter::call(const Value& callable, CallArguments arguments) {
  require_defined(callable);
  const auto function = callable.as_callable();
  if (function == nullptr)
    throw_error(ErrorCode::kBadInput, "a value of type {} cannot be called", callable.kind());
  return function->call(*this, std::move(arguments));
}

Value Interpreter::evaluate_call(const Expression& expression) {
  const Expression& callee = *expression.parts[0];
  if (callee.kind != ExpressionKind::kAttribute) {
    const Value function = evaluate(callee);
    return call(function, evaluate_arguments(expression.arguments));
  }
  const Value object = evaluate(*callee.parts[0]);
  CallArguments arguments = evaluate_arguments(expression.arguments);
  charge_for(object);
  if (has_method(object, callee.text)) {
    Value result = call_method(object, callee.text, std::move(arguments));
    charge_for(result);
    return result;
  }
  return call(attribute_of(object, callee.text), std::move(arguments));
}

// a < b < c is (a < b) and (b < c), with b evaluated once.
Value Interpreter::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    const bool traverses = left.weight() > 64 && right.weight() > 64;
    if (traverses || right.as_text() != nullptr || right.as_list() != nullptr) charge_for(right);
    if (!compare(expression.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::evaluate_slice(const Expression& expression) {
  const Value object = evaluate(*expression.parts[0]);
  if (const List* list = object.as_list())
    charge(list->items.size());
  else
    charge_for(object);
  std::optional<std::int64_t> bounds[3];
  for (std::size_t i = 0; i < 3; ++i)
    if (const ExpressionPtr& part = expression.parts[i + 1]) bounds[i] = bound_of(evaluate(*part));
  return slice_of(object, {.begin = bounds[0], .end = bounds[1], .step = bounds[2]});
}

Value Interpreter::concatenate(const Expression& expression) {
  Text text;
  for (const ExpressionPtr& part : expression.parts) {
    const Value value = evaluate(*part);
    charge_for(value);
    text.append(to_text(value));
  }
  return Value::text(std::move(text));
}

Value Interpreter::apply_filter(std::string_view name, Value input, CallArguments arguments) {
  const Filter* filter = find_filter(name);
  if (filter == nullptr)
    throw_error(ErrorCode::kBadInput, "there is no filter '{}'", printable(name));
  if (filter->traverses) charge_for(input);
  ArgumentReader in(name, std::move(arguments));
  Value result = filter->apply(*this, input, in);
  in.finish();
  if (filter->traverses) charge_for(result);
  return result;
}

bool Interpreter::apply_test(std::string_view name, const Value& input, CallArguments arguments) {
  const Test* test = find_test(name);
  if (test == nullptr) throw_error(ErrorCode::kBadInput, "there is no test '{}'", printable(name));
  ArgumentReader in(name, std::move(arguments));
  const bool result = test->apply(*this, input, in);
  in.finish();
  return result;
}

}  // namespace hearth::runtime::jinja
