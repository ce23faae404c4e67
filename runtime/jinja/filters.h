// The filters of templates, "value | name(arguments)", by name.
#pragma once

#include <span>
#include <string_view>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/interpreter.h"

namespace hearth::runtime::jinja {

struct Filter {
  std::string_view name;
  Value (*apply)(Interpreter&, const Value& input, ArgumentReader&);
  bool traverses = true;  // takes time by the weight of its input and of its result
};

const Filter* find_filter(std::string_view name);  // null if there is none

// By what they work on; find_filter() looks in both.
std::span<const Filter> text_filters();
std::span<const Filter> sequence_filters();

}  // namespace hearth::runtime::jinja
