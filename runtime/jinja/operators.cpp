#include "runtime/jinja/operators.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/formatting.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/methods.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::string_view kOperatorNames[] = {
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

[[noreturn]] void unsuitable(Operator op, const Value& left, const Value& right) {
  throw_error(ErrorCode::kBadInput, "{} cannot be applied to {} and {}",
              kOperatorNames[static_cast<std::size_t>(op)], left.kind(), right.kind());
}

[[noreturn]] void overflow() { throw_error(ErrorCode::kBadInput, "an integer is beyond 64 bits"); }

[[noreturn]] void division_by_zero() { throw_error(ErrorCode::kBadInput, "division by zero"); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) division_by_zero();
  if (b == -1) {
    std::int64_t result;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) overflow();
    return result;
  }
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0)
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  std::int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return Value::integer(result);
}

Value integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Operator::kDivide:
      if (b == 0) division_by_zero();
      return Value::real(static_cast<double>(a) / static_cast<double>(b));
    case Operator::kFloorDivide:
      return Value::integer(floor_divide(a, b));
    case Operator::kModulo:
      if (b == 0) division_by_zero();
      if (b == -1) return Value::integer(0);
      return Value::integer(a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0));
    default:
      return integer_power(a, b);
  }
}

Value real_arithmetic(Operator op, double a, double b) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) division_by_zero();
  switch (op) {
    case Operator::kAdd:
      return Value::real(a + b);
    case Operator::kSubtract:
      return Value::real(a - b);
    case Operator::kMultiply:
      return Value::real(a * b);
    case Operator::kDivide:
      return Value::real(a / b);
    case Operator::kFloorDivide:
      return Value::real(std::floor(a / b));
    case Operator::kModulo:
      return Value::real(a - std::floor(a / b) * b);
    default:
      return Value::real(std::pow(a, b));
  }
}

std::size_t repetitions(const Value& part, std::int64_t count) {
  if (count <= 0) return 0;
  const std::size_t most = kMaxWeight / std::max<std::size_t>(part.weight(), 1);
  if (static_cast<std::uint64_t>(count) > most)
    throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
  return static_cast<std::size_t>(count);
}

Value repeated(const Value& part, std::int64_t count) {
  const std::size_t times = repetitions(part, count);
  if (const Text* text = part.as_text()) {
    Text all;
    for (std::size_t i = 0; i < times; ++i) all.append(*text);
    return Value::text(std::move(all));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; i < times; ++i)
    items.insert(items.end(), part.as_list()->items.begin(), part.as_list()->items.end());
  return Value::list(std::move(items), part.as_list()->kind);
}

bool is_sequence(const Value& value) {
  return value.as_text() != nullptr || (value.as_list() != nullptr && !value.is_generator());
}

Value joined(const Value& left, const Value& right) {
  if (left.as_text() != nullptr && right.as_text() != nullptr) {
    Text text = *left.as_text();
    text.append(*right.as_text());
    return Value::text(std::move(text));
  }
  const List *a = left.as_list(), *b = right.as_list();
  if (a == nullptr || b == nullptr || left.is_tuple() != right.is_tuple() || left.is_generator() ||
      right.is_generator())
    unsuitable(Operator::kAdd, left, right);
  std::vector<Value> items = a->items;
  items.insert(items.end(), b->items.begin(), b->items.end());
  return Value::list(std::move(items), left.is_tuple() ? ListKind::kTuple : ListKind::kList);
}

Value missing(const Value& value, std::string_view name) {
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", value.kind(), printable(name)));
}

}  // namespace

void require_defined(const Value& value) {
  if (const Undefined* undefined = value.as_undefined())
    throw Error(ErrorCode::kBadInput,
                undefined->what.empty() ? "a value is undefined" : undefined->what);
}

Value arithmetic(Operator op, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  if (op == Operator::kModulo && left.as_text() != nullptr)
    return Value::text(percent_formatted(*left.as_text(), right));
  if (left.is_integer() && right.is_integer())
    return integer_arithmetic(op, left.as_integer(), right.as_integer());
  if (left.is_number() && right.is_number())
    return real_arithmetic(op, left.as_real(), right.as_real());
  if (op == Operator::kAdd) return joined(left, right);
  if (op == Operator::kMultiply && is_sequence(left) && right.is_integer())
    return repeated(left, right.as_integer());
  if (op == Operator::kMultiply && left.is_integer() && is_sequence(right))
    return repeated(right, left.as_integer());
  unsuitable(op, left, right);
}

bool contains(const Value& container, const Value& item) {
  if (const Text* text = container.as_text()) {
    if (const Text* part = item.as_text())
      return text->view().find(part->view()) != text->view().npos;
    unsuitable(Operator::kIn, item, container);
  }
  if (const Mapping* mapping = container.as_mapping()) return mapping->find(item) != nullptr;
  for (const Value& present : items_of(container))
    if (equal(present, item)) return true;
  return false;
}

bool compare(Operator op, const Value& left, const Value& right) {
  if (op == Operator::kEqual) return equal(left, right);
  if (op == Operator::kNotEqual) return !equal(left, right);
  if (op == Operator::kIn) return contains(right, left);
  if (op == Operator::kNotIn) return !contains(right, left);
  require_defined(left);
  require_defined(right);
  const std::optional<int> order = compare(left, right);
  if (!order) unsuitable(op, left, right);
  switch (op) {
    case Operator::kLess:
      return *order < 0;
    case Operator::kLessOrEqual:
      return *order <= 0;
    case Operator::kGreater:
      return *order > 0;
    default:
      return *order >= 0;
  }
}

Value negated(const Value& value) {
  require_defined(value);
  if (value.is_integer()) return integer_arithmetic(Operator::kSubtract, 0, value.as_integer());
  if (value.is_real()) return Value::real(-value.as_real());
  throw_error(ErrorCode::kBadInput, "- cannot be applied to {}", value.kind());
}

Value item_of(const Value& value, const Value& key) {
  require_defined(value);
  const Text* name = key.as_text();
  if (const Mapping* mapping = value.as_mapping())
    if (const Value* found = mapping->find(key)) return *found;
  if (name != nullptr) {
    if (value.as_namespace() != nullptr || value.as_callable() != nullptr)
      return attribute_of(value, name->view());
    if (has_method(value, name->view())) return bound_method(value, name->view());
    return missing(value, name->view());
  }
  if (key.is_integer()) {
    const auto length = length_of(value);
    const std::int64_t i = key.as_integer();
    const auto count = static_cast<std::int64_t>(length.value_or(0));
    const std::int64_t at = i < 0 ? i + count : i;
    if (at >= 0 && at < count) {
      if (const List* list = value.as_list()) return list->items[static_cast<std::size_t>(at)];
      if (const Text* text = value.as_text()) {
        const auto starts = character_starts(text->view());
        const auto n = static_cast<std::size_t>(at);
        return Value::text(text->part(starts[n], starts[n + 1] - starts[n]));
      }
    }
  }
  return missing(value, to_text(key).view());
}

// As Jinja: methods come before the entries of a mapping.
Value attribute_of(const Value& value, std::string_view name) {
  require_defined(value);
  if (const Namespace* space = value.as_namespace()) {
    for (const auto& [field, held] : space->entries)
      if (field == name) return held;
    return missing(value, name);
  }
  if (has_method(value, name)) return bound_method(value, name);
  if (const Mapping* mapping = value.as_mapping())
    if (const Value* found = mapping->find(name)) return *found;
  if (const List* list = value.as_list(); list != nullptr && list->kind == ListKind::kGroup)
    if (name == "grouper" || name == "list") return list->items[name == "list" ? 1 : 0];
  if (const auto callable = value.as_callable())
    if (auto found = callable->attribute(name)) return *std::move(found);
  return missing(value, name);
}

Value at_path(const Value& value, const Value& path, const Value* otherwise) {
  const Text* text = path.as_text();
  if (text == nullptr) return item_of(value, path);
  Value found = value;
  std::string_view rest = text->view();
  for (;;) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number = !part.empty() && parsed.ptr == part.data() + part.size();
    found = item_of(found, number ? Value::integer(index) : Value::text(part));
    if (found.is_undefined() && otherwise != nullptr) found = *otherwise;
    if (part.size() == rest.size()) return found;
    rest.remove_prefix(part.size() + 1);
  }
}

Value slice_of(const Value& value, const SliceBounds& bounds) {
  require_defined(value);
  const Text* text = value.as_text();
  const List* list = value.as_list();
  if (!is_sequence(value)) throw_error(ErrorCode::kBadInput, "{} cannot be sliced", value.kind());
  const std::int64_t step = bounds.step.value_or(1);
  if (step == 0) throw_error(ErrorCode::kBadInput, "a slice has step 0");
  std::vector<std::size_t> starts;
  if (text != nullptr) starts = character_starts(text->view());
  const auto count =
      static_cast<std::int64_t>(text != nullptr ? starts.size() - 1 : list->items.size());
  const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
  const auto place = [&](std::int64_t at) {
    return std::clamp(at < 0 ? std::max(at, -count - 1) + count : at, low, high);
  };
  const std::int64_t begin = bounds.begin ? place(*bounds.begin) : step > 0 ? low : high;
  const std::int64_t end = bounds.end ? place(*bounds.end) : step > 0 ? high : low;
  if (text != nullptr && step == 1)
    return Value::text(begin < end ? text->part(starts[static_cast<std::size_t>(begin)],
                                                starts[static_cast<std::size_t>(end)] -
                                                    starts[static_cast<std::size_t>(begin)])
                                   : Text());
  Text characters;
  std::vector<Value> items;
  const std::int64_t stride = std::clamp(step, -count - 1, count + 1);  // as far as any
  for (std::int64_t at = begin; step > 0 ? at < end : at > end; at += stride) {
    const auto n = static_cast<std::size_t>(at);
    if (text != nullptr)
      characters.append(text->part(starts[n], starts[n + 1] - starts[n]));
    else
      items.push_back(list->items[n]);
  }
  return text != nullptr ? Value::text(std::move(characters))
                         : Value::list(std::move(items), list->kind);
}

std::vector<Value> items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (const List* list = value.as_list()) return list->items;
  std::vector<Value> items;
  if (const Mapping* mapping = value.as_mapping()) {
    for (const auto& [key, held] : mapping->entries) items.push_back(key);
    return items;
  }
  const Text* text = value.as_text();
  if (text == nullptr) throw_error(ErrorCode::kBadInput, "{} is not iterable", value.kind());
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t bytes = character_at(text->view(), at).bytes;
    items.push_back(Value::text(text->part(at, bytes)));
    at += bytes;
  }
  return items;
}

std::optional<std::size_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.as_text()) return character_count(text->view());
  if (value.is_generator()) return std::nullopt;
  if (const List* list = value.as_list()) return list->items.size();
  if (const Mapping* mapping = value.as_mapping()) return mapping->entries.size();
  return std::nullopt;
}

}  // namespace hearth::runtime::jinja
