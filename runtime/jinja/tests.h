// The tests of templates, "value is name(arguments)", by name.
#pragma once

#include <string_view>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/interpreter.h"

namespace hearth::runtime::jinja {

struct Test {
  std::string_view name;
  bool (*apply)(Interpreter&, const Value& input, ArgumentReader&);
};

const Test* find_test(std::string_view name);  // null if there is none

}  // namespace hearth::runtime::jinja
