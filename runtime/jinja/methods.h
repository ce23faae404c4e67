// Methods of strings and mappings, as Python has them.
#pragma once

#include <string_view>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

bool has_method(const Value& object, std::string_view name);
// A method of the object. Throws Error(kBadInput).
Value call_method(const Value& object, std::string_view name, CallArguments arguments);
Value bound_method(const Value& object, std::string_view name);  // to be called later

// `text` with `count` (negative: all) occurrences of `from` replaced.
Text replaced(const Text& text, const Text& from, const Text& to, std::int64_t count);
Text upper_case(const Text& text);  // letters beyond ASCII stay as they are
Text lower_case(const Text& text);
Text capitalized(const Text& text);
Text title_case(const Text& text);
// Throws Error(kBadInput) for a part that is no string, as str.join; `convert` takes any.
Text joined(const Text& separator, const std::vector<Value>& parts, bool convert);

}  // namespace hearth::runtime::jinja
