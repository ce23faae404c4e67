// What operators and accesses do to values, as in Python. All throw Error(kBadInput).
#pragma once

#include <optional>
#include <vector>

#include "runtime/jinja/syntax.h"
#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

Value arithmetic(Operator op, const Value& left, const Value& right);
bool compare(Operator op, const Value& left, const Value& right);
bool contains(const Value& container, const Value& item);
Value negated(const Value& value);

// value[key] and value.name: undefined where there is no such thing.
Value item_of(const Value& value, const Value& key);
Value attribute_of(const Value& value, std::string_view name);
// By a path such as "function.name", as filters take it; what is missing on the way is `otherwise`.
Value at_path(const Value& value, const Value& path, const Value* otherwise = nullptr);

struct SliceBounds {
  std::optional<std::int64_t> begin, end, step;
};
Value slice_of(const Value& value, const SliceBounds& bounds);

// What a loop over the value visits. An undefined value is empty.
std::vector<Value> items_of(const Value& value);
std::optional<std::size_t> length_of(const Value& value);  // none: it has no length

// Throws for an undefined value: "'x' is undefined".
void require_defined(const Value& value);

}  // namespace hearth::runtime::jinja
