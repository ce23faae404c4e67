#include "runtime/jinja/tests.h"

#include "base/error.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

bool is_iterable(const Value& v) {
  return v.as_text() != nullptr || v.as_list() != nullptr || v.as_mapping() != nullptr ||
         v.is_undefined();  // which has a length and items, all none
}

bool holds(Interpreter& interpreter, Operator op, const Value& left, ArgumentReader& in) {
  const Value right = in.require("other");
  interpreter.charge_for(left);
  interpreter.charge_for(right);
  return compare(op, left, right);
}

std::int64_t remainder(const Value& value, std::int64_t divisor) {
  return arithmetic(Operator::kModulo, value, Value::integer(divisor)).as_integer();
}

bool is_in_case(const Value& value, char first, char last) {
  const Text text = to_text(value);
  bool letters = false;
  for (const char c : text.view()) {
    if (c >= first && c <= last) letters = true;
    const bool other = first == 'a' ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z';
    if (other) return false;
  }
  return letters;
}

// Of the value alone.
template <bool (*kHolds)(const Value&)>
bool of(Interpreter&, const Value& value, ArgumentReader&) {
  return kHolds(value);
}

template <Operator kOperator>
bool compared(Interpreter& interpreter, const Value& value, ArgumentReader& in) {
  return holds(interpreter, kOperator, value, in);
}

bool is_divisible(Interpreter&, const Value& value, ArgumentReader& in) {
  return remainder(value, in.integer("num", 1)) == 0;
}

bool is_same(Interpreter&, const Value& value, ArgumentReader& in) {
  const Value other = in.require("other");
  return value.kind() == other.kind() && equal(value, other);
}

constexpr Test kTests[] = {
    {"defined", of<[](const Value& v) { return !v.is_undefined(); }>},
    {"undefined", of<[](const Value& v) { return v.is_undefined(); }>},
    {"none", of<[](const Value& v) { return v.is_none(); }>},
    {"string", of<[](const Value& v) { return v.as_text() != nullptr; }>},
    {"mapping", of<[](const Value& v) { return v.as_mapping() != nullptr; }>},
    {"iterable", of<is_iterable>},
    {"sequence", of<[](const Value& v) { return is_iterable(v) && !v.is_generator(); }>},
    {"number", of<[](const Value& v) { return v.is_number(); }>},
    {"integer", of<[](const Value& v) { return v.is_integer() && !v.is_boolean(); }>},
    {"float", of<[](const Value& v) { return v.is_real(); }>},
    {"boolean", of<[](const Value& v) { return v.is_boolean(); }>},
    {"true", of<[](const Value& v) { return v.is_boolean() && v.truth(); }>},
    {"false", of<[](const Value& v) { return v.is_boolean() && !v.truth(); }>},
    {"callable", of<[](const Value& v) { return v.as_callable() != nullptr; }>},
    {"lower", of<[](const Value& v) { return is_in_case(v, 'a', 'z'); }>},
    {"upper", of<[](const Value& v) { return is_in_case(v, 'A', 'Z'); }>},
    {"odd", of<[](const Value& v) { return remainder(v, 2) == 1; }>},
    {"even", of<[](const Value& v) { return remainder(v, 2) == 0; }>},
    {"divisibleby", is_divisible},
    {"sameas", is_same},
    {"filter", of<[](const Value& v) { return find_filter(to_text(v).view()) != nullptr; }>},
    {"test", of<[](const Value& v) { return find_test(to_text(v).view()) != nullptr; }>},
    {"in", compared<Operator::kIn>},
    {"eq", compared<Operator::kEqual>},
    {"equalto", compared<Operator::kEqual>},
    {"==", compared<Operator::kEqual>},
    {"ne", compared<Operator::kNotEqual>},
    {"!=", compared<Operator::kNotEqual>},
    {"lt", compared<Operator::kLess>},
    {"lessthan", compared<Operator::kLess>},
    {"<", compared<Operator::kLess>},
    {"le", compared<Operator::kLessOrEqual>},
    {"<=", compared<Operator::kLessOrEqual>},
    {"gt", compared<Operator::kGreater>},
    {"greaterthan", compared<Operator::kGreater>},
    {">", compared<Operator::kGreater>},
    {"ge", compared<Operator::kGreaterOrEqual>},
    {">=", compared<Operator::kGreaterOrEqual>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  for (const Test& test : kTests)
    if (test.name == name) return &test;
  return nullptr;
}

}  // namespace hearth::runtime::jinja
