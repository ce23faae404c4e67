// Filters of lists and mappings.
#include <algorithm>
#include <bit>

#include "base/error.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

// What a filter looks at in an item: the item, or what is at `path` in it.
Value seen(const Value& item, const std::optional<Value>& path) {
  return path && !path->is_none() ? at_path(item, *path) : item;
}

// Strings are compared without regard to case, unless asked for.
Value folded(const Value& value, bool case_sensitive) {
  const Text* text = value.as_text();
  return text == nullptr || case_sensitive ? value : Value::text(lower_case(*text));
}

bool less(const Value& a, const Value& b) {
  const auto order = compare(a, b);
  if (!order) throw_error(ErrorCode::kBadInput, "{} and {} have no order", a.kind(), b.kind());
  return *order < 0;
}

void sort_by_keys(Interpreter& interpreter, std::vector<std::pair<Value, Value>>& items,
                  bool reverse) {
  std::uint64_t weight = 0;
  for (const auto& [key, item] : items) weight += 16 + key.weight() / 64;
  interpreter.charge(weight * static_cast<std::uint64_t>(std::bit_width(items.size())));
  std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
}

Value length(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  if (const Text* text = input.as_text()) interpreter.charge_bytes(text->size());
  const auto count = length_of(input);
  if (!count)
    throw_error(ErrorCode::kBadInput, "{}: a value of type {} has no length", in.function(),
                input.kind());
  return Value::integer(static_cast<std::int64_t>(*count));
}

Value join(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const Text separator = in.text("d", "");
  const auto path = in.take("attribute");
  std::vector<Value> items = items_of(input);
  if (path)
    for (Value& item : items) item = seen(item, path);
  Text result = joined(separator, items, true);
  interpreter.charge_bytes(result.size());
  return Value::text(std::move(result));
}

Value default_value(Interpreter&, const Value& input, ArgumentReader& in) {
  Value otherwise = in.take("default_value").value_or(Value::text(""));
  const bool for_false = in.boolean("boolean", false);
  return input.is_undefined() || (for_false && !input.truth()) ? std::move(otherwise) : input;
}

Value first(Interpreter&, const Value& input, ArgumentReader&) {
  if (const List* list = input.as_list(); list != nullptr && !list->items.empty())
    return list->items.front();
  const std::vector<Value> items = items_of(input);
  return items.empty() ? Value::undefined("an empty sequence has no first item") : items.front();
}

Value last(Interpreter&, const Value& input, ArgumentReader&) {
  if (input.is_generator()) throw_error(ErrorCode::kBadInput, "last wants a list, not a generator");
  if (const List* list = input.as_list(); list != nullptr && !list->items.empty())
    return list->items.back();
  const std::vector<Value> items = items_of(input);
  return items.empty() ? Value::undefined("an empty sequence has no last item") : items.back();
}

Value items_filter(Interpreter&, const Value& input, ArgumentReader&) {
  if (input.is_undefined()) return Value::generator({});
  if (input.as_mapping() == nullptr)
    throw_error(ErrorCode::kBadInput, "items wants a mapping, not {}", input.kind());
  return Value::generator(items_of(call_method(input, "items", {})));
}

Value reverse(Interpreter&, const Value& input, ArgumentReader&) {
  if (input.as_text() != nullptr) return slice_of(input, {.begin = {}, .end = {}, .step = -1});
  std::vector<Value> items = items_of(input);
  std::reverse(items.begin(), items.end());
  return Value::generator(std::move(items));
}

Value sort(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const bool reversed = in.boolean("reverse", false);
  const bool case_sensitive = in.boolean("case_sensitive", false);
  const auto path = in.take("attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(input))
    keyed.emplace_back(folded(seen(item, path), case_sensitive), item);
  sort_by_keys(interpreter, keyed, reversed);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return Value::list(std::move(items));
}

Value dictsort(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const bool case_sensitive = in.boolean("case_sensitive", false);
  const std::string by = in.text("by", "key").bytes();
  const bool reversed = in.boolean("reverse", false);
  const Mapping* mapping = input.as_mapping();
  if (mapping == nullptr)
    throw_error(ErrorCode::kBadInput, "dictsort wants a mapping, not {}", input.kind());
  if (by != "key" && by != "value")
    throw_error(ErrorCode::kBadInput, "dictsort sorts by 'key' or 'value', not '{}'",
                printable(by));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : mapping->entries)
    keyed.emplace_back(folded(by == "key" ? key : value, case_sensitive),
                       Value::tuple({key, value}));
  sort_by_keys(interpreter, keyed, reversed);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return Value::list(std::move(items));
}

Value unique(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const bool case_sensitive = in.boolean("case_sensitive", false);
  const auto path = in.take("attribute");
  std::vector<Value> keys, items;
  for (const Value& item : items_of(input)) {
    Value key = folded(seen(item, path), case_sensitive);
    interpreter.charge(keys.size() * (1 + key.weight() / 64));
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(k, key); }))
      continue;
    keys.push_back(std::move(key));
    items.push_back(item);
  }
  return Value::generator(std::move(items));
}

Value extreme(const Value& input, ArgumentReader& in, bool largest) {
  const bool case_sensitive = in.boolean("case_sensitive", false);
  const auto path = in.take("attribute");
  Value best = Value::undefined("an empty sequence has no such item"), best_key;
  for (const Value& item : items_of(input)) {
    Value key = folded(seen(item, path), case_sensitive);
    if (!best.is_undefined() && !(largest ? less(best_key, key) : less(key, best_key))) continue;
    best = item;
    best_key = std::move(key);
  }
  return best;
}

Value sum(Interpreter&, const Value& input, ArgumentReader& in) {
  const auto path = in.take("attribute");
  Value total = in.take("start").value_or(Value::integer(0));
  for (const Value& item : items_of(input))
    total = arithmetic(Operator::kAdd, total, seen(item, path));
  return total;
}

// map("filter", ...) or map(attribute="path", default=...).
Value map(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  CallArguments rest = in.take_rest();
  std::vector<Value> items;
  if (input.truth()) items = items_of(input);  // none and 0 are empty here, as in Jinja
  if (rest.positional.empty()) {
    ArgumentReader named("map", std::move(rest));
    const Value path = named.require("attribute");
    const auto otherwise = named.take("default");
    named.finish();
    for (Value& item : items) item = at_path(item, path, otherwise ? &*otherwise : nullptr);
    return Value::generator(std::move(items));
  }
  const std::string filter = to_text(rest.positional[0]).bytes();
  rest.positional.erase(rest.positional.begin());
  for (Value& item : items) {
    interpreter.charge(16);
    item = interpreter.apply_filter(filter, item, rest);
  }
  return Value::generator(std::move(items));
}

// Those items for which a test holds, or does not; without a test: those that are true.
Value select(Interpreter& interpreter, const Value& input, ArgumentReader& in, bool by_path,
             bool wanted) {
  CallArguments rest = in.take_rest();
  const auto take_first = [&]() -> std::optional<Value> {
    if (rest.positional.empty()) return std::nullopt;
    Value value = rest.positional.front();
    rest.positional.erase(rest.positional.begin());
    return value;
  };
  std::optional<Value> path;
  if (by_path) {
    path = take_first();
    if (!path)
      throw_error(ErrorCode::kBadInput, "{} wants the name of an attribute", in.function());
  }
  const auto test = take_first();
  std::vector<Value> kept;
  if (!input.truth()) return Value::generator({});  // none and 0, too, as in Jinja
  for (const Value& item : items_of(input)) {
    interpreter.charge(16);
    const Value value = seen(item, path);
    const bool holds =
        test ? interpreter.apply_test(to_text(*test).view(), value, rest) : value.truth();
    if (holds == wanted) kept.push_back(item);
  }
  return Value::generator(std::move(kept));
}

// [(grouper, list), ...], in the order of the groupers.
Value groupby(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const Value path = in.require("attribute");
  const auto otherwise = in.take("default");
  const bool case_sensitive = in.boolean("case_sensitive", false);
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(input)) {
    const Value found = at_path(item, path, otherwise ? &*otherwise : nullptr);
    keyed.emplace_back(folded(found, case_sensitive), item);
  }
  sort_by_keys(interpreter, keyed, false);
  std::vector<Value> groups;
  for (std::size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
    std::vector<Value> members;
    for (; end < keyed.size() && equal(keyed[end].first, keyed[begin].first); ++end)
      members.push_back(keyed[end].second);
    // As the first of the group has it, not as it was compared.
    const Value grouper = at_path(members.front(), path, otherwise ? &*otherwise : nullptr);
    groups.push_back(Value::list({grouper, Value::list(std::move(members))}, ListKind::kGroup));
  }
  return Value::list(std::move(groups));
}

std::size_t count_of(ArgumentReader& in, std::string_view parameter) {
  const std::int64_t count = in.integer(parameter, 0);
  if (count < 1 || count > std::int64_t{kMaxMappingEntries})
    throw_error(ErrorCode::kBadInput, "{}: '{}' is {}; it must be 1 to {}", in.function(),
                parameter, count, kMaxMappingEntries);
  return static_cast<std::size_t>(count);
}

// Lists of so many items each; the last is filled up where there is something to fill it with.
Value batch(Interpreter&, const Value& input, ArgumentReader& in) {
  const std::size_t count = count_of(in, "linecount");
  const Value filling = in.take("fill_with").value_or(Value::none());
  std::vector<Value> batches, current;
  const auto flush = [&] { batches.push_back(Value::list(std::exchange(current, {}))); };
  for (const Value& item : items_of(input)) {
    if (current.size() == count) flush();
    current.push_back(item);
  }
  if (current.empty()) return Value::generator({});
  if (!filling.is_none()) current.resize(count, filling);
  flush();
  return Value::generator(std::move(batches));
}

// So many lists, the first of which have an item more; the others are filled up.
Value slice(Interpreter&, const Value& input, ArgumentReader& in) {
  const std::size_t count = count_of(in, "slices");
  const Value filling = in.take("fill_with").value_or(Value::none());
  const std::vector<Value> items = items_of(input);
  std::vector<Value> slices;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t larger = items.size() % count;
    const std::size_t end = begin + items.size() / count + (i < larger ? 1 : 0);
    std::vector<Value> one(items.begin() + static_cast<std::ptrdiff_t>(begin),
                           items.begin() + static_cast<std::ptrdiff_t>(end));
    if (!filling.is_none() && i >= larger) one.push_back(filling);
    slices.push_back(Value::list(std::move(one)));
    begin = end;
  }
  return Value::generator(std::move(slices));
}

Value attribute(Interpreter&, const Value& input, ArgumentReader& in) {
  return attribute_of(input, in.require_text("name").view());
}

constexpr Filter kFilters[] = {
    {"length", length, false},
    {"count", length, false},
    {"join", join},
    {"default", default_value, false},
    {"d", default_value, false},
    {"first", first, false},
    {"last", last, false},
    {"items", items_filter},
    {"reverse", reverse},
    {"sort", sort},
    {"dictsort", dictsort},
    {"unique", unique},
    {"sum", sum},
    {"map", map},
    {"groupby", groupby},
    {"batch", batch},
    {"slice", slice},
    {"attr", attribute, false},
    {"list",
     [](Interpreter&, const Value& v, ArgumentReader&) { return Value::list(items_of(v)); }},
    {"min", [](Interpreter&, const Value& v, ArgumentReader& in) { return extreme(v, in, false); }},
    {"max", [](Interpreter&, const Value& v, ArgumentReader& in) { return extreme(v, in, true); }},
    {"select", [](Interpreter& i, const Value& v,
                  ArgumentReader& in) { return select(i, v, in, false, true); }},
    {"reject", [](Interpreter& i, const Value& v,
                  ArgumentReader& in) { return select(i, v, in, false, false); }},
    {"selectattr", [](Interpreter& i, const Value& v,
                      ArgumentReader& in) { return select(i, v, in, true, true); }},
    {"rejectattr", [](Interpreter& i, const Value& v,
                      ArgumentReader& in) { return select(i, v, in, true, false); }},
};

}  // namespace

std::span<const Filter> sequence_filters() { return kFilters; }

}  // namespace hearth::runtime::jinja
