#include "runtime/jinja/value.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/utf8.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::size_t kScalarWeight = 8;

void check_weight(std::size_t weight) {
  if (weight > kMaxWeight)
    throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
}

template <typename Container>
void add_part(Container& container, const Value& part) {
  if (part.as_namespace() != nullptr)
    throw_error(ErrorCode::kBadInput, "a namespace cannot be put into a list or a mapping");
  container.depth = std::max(container.depth, part.depth() + 1);
  if (container.depth > kMaxValueDepth)
    throw_error(ErrorCode::kBadInput, "values are nested more than {} deep", kMaxValueDepth);
  container.weight += part.weight();
  check_weight(container.weight);
}

int sign(bool less, bool more) { return less ? -1 : more ? 1 : 0; }

std::optional<int> compare_lists(const List& a, const List& b) {
  for (std::size_t i = 0; i < std::min(a.items.size(), b.items.size()); ++i)
    if (!equal(a.items[i], b.items[i])) return compare(a.items[i], b.items[i]);
  return sign(a.items.size() < b.items.size(), a.items.size() > b.items.size());
}

bool equal_mappings(const Mapping& a, const Mapping& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(value, *other)) return false;
  }
  return true;
}

// In single quotes, unless there are such and no double ones inside.
Text quoted(const Text& text) {
  const bool single = text.view().find('\'') != std::string_view::npos;
  const char quote = single && text.view().find('"') == std::string_view::npos ? '"' : '\'';
  Text out(std::string(1, quote));
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text.view()[i]);
    if (c == '\\' || c == quote)
      out.append("\\"), out.append(text.part(i, 1));
    else if (c == '\n' || c == '\r' || c == '\t')
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    else if (c < 0x20 || c == 0x7f)
      out.append(fmt::format("\\x{:02x}", c));
    else
      out.append(text.part(i, 1));
  }
  out.append(std::string_view(&quote, 1));
  return out;
}

Text list_text(const List& list) {
  const bool tuple = list.kind == ListKind::kTuple || list.kind == ListKind::kGroup;
  Text out(tuple ? "(" : "[");
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ");
    out.append(to_repr(list.items[i]));
  }
  if (tuple && list.items.size() == 1) out.append(",");
  out.append(tuple ? ")" : "]");
  return out;
}

Text mapping_text(const Mapping& mapping) {
  Text out("{");
  for (std::size_t i = 0; i < mapping.entries.size(); ++i) {
    if (i > 0) out.append(", ");
    out.append(to_repr(mapping.entries[i].first));
    out.append(": ");
    out.append(to_repr(mapping.entries[i].second));
  }
  out.append("}");
  return out;
}

}  // namespace

const Value* Mapping::find(const Value& key) const {
  for (const auto& [name, value] : entries)
    if (equal(name, key)) return &value;
  return nullptr;
}

const Value* Mapping::find(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (const Text* text = name.as_text(); text != nullptr && text->view() == key) return &value;
  return nullptr;
}

Value Value::text(Text value) {
  check_weight(value.size());
  return Value(Variant(std::make_shared<const Text>(std::move(value))));
}

Value Value::list(std::vector<Value> items, ListKind kind) {
  List list;
  list.kind = kind;
  for (const Value& item : items) add_part(list, item);
  list.items = std::move(items);
  return Value(Variant(std::make_shared<const List>(std::move(list))));
}

// Of equal keys the last value counts, at the place of the first, as in Python.
Value Value::mapping(std::vector<std::pair<Value, Value>> entries) {
  Mapping mapping;
  if (entries.size() > kMaxMappingEntries)
    throw_error(ErrorCode::kBadInput, "a mapping has {} entries; at most {} are taken",
                entries.size(), kMaxMappingEntries);
  for (auto& [key, value] : entries) {
    add_part(mapping, key);
    add_part(mapping, value);
    if (const Value* present = mapping.find(key))
      *const_cast<Value*>(present) = std::move(value);
    else
      mapping.entries.emplace_back(std::move(key), std::move(value));
  }
  return Value(Variant(std::make_shared<const Mapping>(std::move(mapping))));
}

std::int64_t Value::as_integer() const {
  if (const bool* boolean = std::get_if<bool>(&variant_)) return *boolean ? 1 : 0;
  return std::get<std::int64_t>(variant_);
}

double Value::as_real() const {
  if (const double* real = std::get_if<double>(&variant_)) return *real;
  return static_cast<double>(as_integer());
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_real() != 0;
  if (const Text* text = as_text()) return !text->empty();
  if (const List* list = as_list()) return is_generator() || !list->items.empty();
  if (const Mapping* mapping = as_mapping()) return !mapping->entries.empty();
  return true;
}

std::string_view Value::kind() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_boolean()) return "bool";
  if (is_integer()) return "int";
  if (is_real()) return "float";
  if (as_text() != nullptr) return "str";
  if (const List* list = as_list()) {
    constexpr std::string_view kNames[] = {"list", "tuple", "tuple", "generator"};
    return kNames[static_cast<std::size_t>(list->kind)];
  }
  if (as_mapping() != nullptr) return "dict";
  return as_namespace() != nullptr ? "Namespace" : "function";
}

unsigned Value::depth() const {
  if (const List* list = as_list()) return list->depth;
  if (const Mapping* mapping = as_mapping()) return mapping->depth;
  return 0;
}

std::size_t Value::weight() const {
  if (const Text* text = as_text()) return kScalarWeight + text->size();
  if (const List* list = as_list()) return kScalarWeight + list->weight;
  if (const Mapping* mapping = as_mapping()) return kScalarWeight + mapping->weight;
  return kScalarWeight;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.as_integer() == b.as_integer();
  if (a.is_number() && b.is_number()) return a.as_real() == b.as_real();
  if (a.as_text() != nullptr && b.as_text() != nullptr) return *a.as_text() == *b.as_text();
  if (a.is_none() || a.is_undefined()) return a.kind() == b.kind();
  const List *list = a.as_list(), *other_list = b.as_list();
  if (list != nullptr && other_list != nullptr) {
    if (a.is_generator() || b.is_generator()) return list == other_list;
    if (a.is_tuple() != b.is_tuple() || list->items.size() != other_list->items.size())
      return false;
    for (std::size_t i = 0; i < list->items.size(); ++i)
      if (!equal(list->items[i], other_list->items[i])) return false;
    return true;
  }
  if (a.as_mapping() != nullptr && b.as_mapping() != nullptr)
    return equal_mappings(*a.as_mapping(), *b.as_mapping());
  if (a.as_namespace() != nullptr) return a.as_namespace() == b.as_namespace();
  return a.as_callable() != nullptr && a.as_callable() == b.as_callable();
}

std::optional<int> compare(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer())
    return sign(a.as_integer() < b.as_integer(), a.as_integer() > b.as_integer());
  if (a.is_number() && b.is_number())
    return sign(a.as_real() < b.as_real(), a.as_real() > b.as_real());
  // Bytes of UTF-8 are ordered as the characters are.
  if (a.as_text() != nullptr && b.as_text() != nullptr)
    return a.as_text()->bytes().compare(b.as_text()->bytes());
  const List *list = a.as_list(), *other = b.as_list();
  if (list != nullptr && other != nullptr && a.is_tuple() == b.is_tuple() && !a.is_generator() &&
      !b.is_generator())
    return compare_lists(*list, *other);
  return std::nullopt;
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

Text to_repr(const Value& value) {
  if (const Text* text = value.as_text()) return quoted(*text);
  if (value.is_undefined()) return Text("Undefined");
  return to_text(value);
}

Text to_text(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_none()) return Text("None");
  if (value.is_boolean()) return Text(value.truth() ? "True" : "False");
  if (value.is_integer()) return Text(fmt::format("{}", value.as_integer()));
  if (value.is_real()) return Text(real_text(value.as_real()));
  if (const Text* text = value.as_text()) return *text;
  if (const List* list = value.as_list()) return list_text(*list);
  if (const Mapping* mapping = value.as_mapping()) return mapping_text(*mapping);
  return Text(fmt::format("<{}>", value.kind()));
}

}  // namespace hearth::runtime::jinja
