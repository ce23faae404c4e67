// The values of a template: those of Python that templates use.
//
// Lists and mappings are immutable once made, as templates see them, and shared. A namespace is the
// one thing that changes; it cannot be put into another value, so that values form no circles.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/jinja/text.h"

namespace hearth::runtime::jinja {

class Value;
class Callable;  // a macro or a function (interpreter.h)

struct Undefined {
  std::string what;  // "'tools' is undefined"
};
struct None {};

// What some filters give is a generator: true whatever it holds, without a length, and to be gone
// through or made a list of. (Unlike Python's it can be gone through more than once.) A group is a
// tuple whose two items are called grouper and list.
enum class ListKind { kList, kTuple, kGroup, kGenerator };

struct List {
  std::vector<Value> items;
  ListKind kind = ListKind::kList;
  unsigned depth = 1;  // of lists and mappings in one another
  std::size_t weight = 0;
};

struct Mapping {
  std::vector<std::pair<Value, Value>> entries;  // in order of insertion
  unsigned depth = 1;
  std::size_t weight = 0;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> entries;
};

// What is in several places counts in each of them, so that walking through a value, which takes
// time by its weight, is bounded by these too.
inline constexpr unsigned kMaxValueDepth = 64;
inline constexpr std::size_t kMaxWeight = 16 << 20;
inline constexpr std::size_t kMaxMappingEntries = 4096;  // lookups are linear

class Value {
 public:
  using Variant =
      std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const List>, std::shared_ptr<const Mapping>,
                   std::shared_ptr<Namespace>, std::shared_ptr<const Callable>>;

  Value() = default;  // undefined
  static Value undefined(std::string what) { return Value(Variant(Undefined{std::move(what)})); }
  static Value none() { return Value(Variant(None{})); }
  static Value boolean(bool value) { return Value(Variant(value)); }
  static Value integer(std::int64_t value) { return Value(Variant(value)); }
  static Value real(double value) { return Value(Variant(value)); }
  static Value text(Text value);  // throws Error(kBadInput) beyond kMaxWeight
  static Value text(std::string_view written) { return text(Text(written)); }
  // Throw Error(kBadInput) for what is too large, nested too deeply, or holds a namespace.
  static Value list(std::vector<Value> items, ListKind kind = ListKind::kList);
  static Value tuple(std::vector<Value> items) { return list(std::move(items), ListKind::kTuple); }
  static Value generator(std::vector<Value> items) {
    return list(std::move(items), ListKind::kGenerator);
  }
  static Value mapping(std::vector<std::pair<Value, Value>> entries);
  static Value name_space() { return Value(Variant(std::make_shared<Namespace>())); }
  static Value callable(std::shared_ptr<const Callable> callable) {
    return Value(Variant(std::move(callable)));
  }

  bool is_tuple() const {
    const List* list = as_list();
    return list != nullptr && (list->kind == ListKind::kTuple || list->kind == ListKind::kGroup);
  }
  bool is_generator() const {
    return as_list() != nullptr && as_list()->kind == ListKind::kGenerator;
  }
  bool is_undefined() const { return holds<Undefined>(); }
  bool is_none() const { return holds<None>(); }
  bool is_boolean() const { return holds<bool>(); }
  bool is_integer() const { return holds<std::int64_t>() || is_boolean(); }  // as in Python
  bool is_real() const { return holds<double>(); }
  bool is_number() const { return is_integer() || is_real(); }

  // Null where the value is of another kind.
  const Text* as_text() const { return pointer<const Text>(); }
  const List* as_list() const { return pointer<const List>(); }
  const Mapping* as_mapping() const { return pointer<const Mapping>(); }
  Namespace* as_namespace() const { return pointer<Namespace>(); }
  std::shared_ptr<const Callable> as_callable() const {
    const auto* held = std::get_if<std::shared_ptr<const Callable>>(&variant_);
    return held ? *held : nullptr;
  }
  const Undefined* as_undefined() const { return std::get_if<Undefined>(&variant_); }
  std::int64_t as_integer() const;  // of is_integer()
  double as_real() const;           // of is_number()

  bool truth() const;
  std::string_view kind() const;  // as Python names it: "str", "dict", ...
  unsigned depth() const;
  std::size_t weight() const;  // about the bytes it has when printed

 private:
  explicit Value(Variant variant) : variant_(std::move(variant)) {}
  template <typename T>
  bool holds() const {
    return std::holds_alternative<T>(variant_);
  }
  template <typename T>
  T* pointer() const {
    const auto* held = std::get_if<std::shared_ptr<T>>(&variant_);
    return held ? held->get() : nullptr;
  }

  Variant variant_;
};

bool equal(const Value& a, const Value& b);
// Negative, 0 or positive; empty where Python has no order between the two.
std::optional<int> compare(const Value& a, const Value& b);

// As Python's str() and repr() write it, and the JSON of the filter tojson.
Text to_text(const Value& value);
Text to_repr(const Value& value);
std::string real_text(double value);  // shortest digits, always with a point or an exponent

}  // namespace hearth::runtime::jinja
