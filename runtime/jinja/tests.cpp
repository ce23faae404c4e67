#include "runtime/jinja/tests.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

bool is_sequence(const Value& v) {
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

#define OF [](Interpreter&, const Value& v, ArgumentReader&) -> bool
#define COMPARED(op) \
  [](Interpreter& i, const Value& v, ArgumentReader& in) { return holds(i, Operator::op, v, in); }

constexpr Test kTests[] = {{"defined", OF{return !v.is_undefined();
}  // namespace
}  // namespace hearth::runtime::jinja
, {"undefined", OF{return v.is_undefined();
}
}
, {"none", OF{return v.is_none();
}
}
, {"string", OF{return v.as_text() != nullptr;
}
}
, {"mapping", OF{return v.as_mapping() != nullptr;
}
}
, {"iterable", OF{return is_sequence(v);
}
}
, {"sequence", OF{return is_sequence(v);
}
}
, {"number", OF{return v.is_number();
}
}
, {"integer", OF{return v.is_integer() && !v.is_boolean();
}
}
, {"float", OF{return v.is_real();
}
}
, {"boolean", OF{return v.is_boolean();
}
}
, {"true", OF{return v.is_boolean() && v.truth();
}
}
, {"false", OF{return v.is_boolean() && !v.truth();
}
}
, {"callable", OF{return v.as_callable() != nullptr;
}
}
, {"lower", OF{return is_in_case(v, 'a', 'z');
}
}
, {"upper", OF{return is_in_case(v, 'A', 'Z');
}
}
, {"odd", OF{return remainder(v, 2) == 1;
}
}
, {"even", OF{return remainder(v, 2) == 0;
}
}
,
    {"divisibleby", [](Interpreter&, const Value& v,
                       ArgumentReader& in) { return remainder(v, in.integer("num", 1)) == 0; }},
    {"sameas",
     [](Interpreter&, const Value& v, ArgumentReader& in) {
       const Value other = in.require("other");
       return v.kind() == other.kind() && equal(v, other);
     }},
    {"filter", [](Interpreter&, const Value& v,
                  ArgumentReader&) { return find_filter(to_text(v).view()) != nullptr; }},
    {"test", [](Interpreter&, const Value& v,
                ArgumentReader&) { return find_test(to_text(v).view()) != nullptr; }},
    {"in", COMPARED(kIn)}, {"eq", COMPARED(kEqual)}, {"equalto", COMPARED(kEqual)},
    {"==", COMPARED(kEqual)}, {"ne", COMPARED(kNotEqual)}, {"!=", COMPARED(kNotEqual)},
    {"lt", COMPARED(kLess)}, {"lessthan", COMPARED(kLess)}, {"<", COMPARED(kLess)},
    {"le", COMPARED(kLessOrEqual)}, {"<=", COMPARED(kLessOrEqual)}, {"gt", COMPARED(kGreater)},
    {"greaterthan", COMPARED(kGreater)}, {">", COMPARED(kGreater)},
    {"ge", COMPARED(kGreaterOrEqual)}, {">=", COMPARED(kGreaterOrEqual)},
}
;

}  // namespace

const Test* find_test(std::string_view name) {
  for (const Test& test : kTests)
    if (test.name == name) return &test;
  return nullptr;
}

}  // namespace hearth::runtime::jinja
