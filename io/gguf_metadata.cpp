// Typed access to the metadata of a GGUF file.
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "io/gguf.h"

namespace hearth::io {
namespace {

template <typename T>
constexpr bool kIsInteger = std::is_same_v<T, std::uint64_t> || std::is_same_v<T, std::int64_t>;

// What a value is, for messages.
struct TypeName {
  std::string operator()(std::uint64_t value) const { return fmt::format("the number {}", value); }
  std::string operator()(std::int64_t value) const { return fmt::format("the number {}", value); }
  std::string operator()(double value) const { return fmt::format("the number {}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string&) const { return "text"; }
  std::string operator()(const std::shared_ptr<GgufArray>& array) const {
    static constexpr const char* kElements[] = {"integers", "integers", "reals", "booleans",
                                                "strings"};
    return fmt::format("an array of {} {}", array->size(), kElements[array->values.index()]);
  }
};

[[noreturn]] void wrong_type(const std::string& file, std::string_view key, const GgufValue& value,
                             std::string_view wanted) {
  throw_error(ErrorCode::kBadFile,
              "{}{}the key '{}' holds {} where {} is needed; convert the model again", file,
              file.empty() ? "" : ": ", printable(key), std::visit(TypeName{}, value), wanted);
}

// A scalar as an integer of at least 0; empty for other types and negative values.
template <typename T>
std::optional<std::uint64_t> as_unsigned(const T& value) {
  if constexpr (kIsInteger<T>) {
    if (std::in_range<std::uint64_t>(value)) return static_cast<std::uint64_t>(value);
  }
  return std::nullopt;
}

// The elements of an array converted one by one with `convert`, which returns an optional; empty
// as soon as one cannot be converted, and for strings.
template <typename Result, typename Convert>
std::optional<std::vector<Result>> convert_all(const GgufArray& array, Convert convert) {
  return std::visit(
      [&]<typename T>(const std::vector<T>& elements) -> std::optional<std::vector<Result>> {
        if constexpr (std::is_same_v<T, std::string>) {
          return std::nullopt;
        } else {
          std::vector<Result> results;
          results.reserve(elements.size());
          for (const T element : elements) {
            const std::optional<Result> result = convert(element);
            if (!result) return std::nullopt;
            results.push_back(*result);
          }
          return results;
        }
      },
      array.values);
}

const GgufArray* as_array(const GgufValue& value) {
  const auto* array = std::get_if<std::shared_ptr<GgufArray>>(&value);
  return array ? array->get() : nullptr;
}

}  // namespace

std::size_t GgufArray::size() const {
  return std::visit([](const auto& elements) { return elements.size(); }, values);
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = index_.find(std::string(key));
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

void GgufMetadata::set(std::string key, GgufValue value) {
  const auto [place, added] = index_.emplace(key, entries_.size());
  if (added)
    entries_.push_back({std::move(key), std::move(value)});
  else
    entries_[place->second].value = std::move(value);
}

std::optional<std::uint64_t> GgufMetadata::unsigned_integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto integer = std::visit([](const auto& held) { return as_unsigned(held); }, *value);
  if (!integer) wrong_type(file_, key, *value, "a whole number of at least 0");
  return integer;
}

std::optional<std::uint64_t> GgufMetadata::unsigned_integer(std::string_view key,
                                                            std::size_t element) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const GgufArray* array = as_array(*value);
  if (!array) return unsigned_integer(key);
  const auto integer = std::visit(
      [&]<typename T>(const std::vector<T>& elements) -> std::optional<std::uint64_t> {
        if (element >= elements.size()) return std::nullopt;
        return as_unsigned<T>(elements[element]);
      },
      array->values);
  if (!integer)
    wrong_type(file_, key, *value,
               fmt::format("a whole number of at least 0 as element {}", element));
  return integer;
}

std::optional<double> GgufMetadata::real(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  return std::visit(
      [&]<typename T>(const T& held) -> double {
        if constexpr (std::is_same_v<T, double> || kIsInteger<T>)
          return static_cast<double>(held);
        else
          wrong_type(file_, key, *value, "a number");
      },
      *value);
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const bool* held = std::get_if<bool>(value)) return *held;
  wrong_type(file_, key, *value, "true or false");
}

std::optional<std::string_view> GgufMetadata::string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* held = std::get_if<std::string>(value)) return *held;
  wrong_type(file_, key, *value, "text");
}

const std::vector<std::string>* GgufMetadata::strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return nullptr;
  const GgufArray* array = as_array(*value);
  const auto* held = array ? std::get_if<std::vector<std::string>>(&array->values) : nullptr;
  if (!held) wrong_type(file_, key, *value, "an array of strings");
  return held;
}

std::optional<std::vector<double>> GgufMetadata::reals(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto convert = []<typename T>(T element) -> std::optional<double> {
    if constexpr (std::is_same_v<T, bool>) return std::nullopt;
    return static_cast<double>(element);
  };
  const GgufArray* array = as_array(*value);
  auto results = array ? convert_all<double>(*array, convert) : std::nullopt;
  if (!results) wrong_type(file_, key, *value, "an array of numbers");
  return results;
}

std::optional<std::vector<std::int64_t>> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto convert = []<typename T>(T element) -> std::optional<std::int64_t> {
    if constexpr (kIsInteger<T>) {
      if (!std::in_range<std::int64_t>(element)) return std::nullopt;
    } else if constexpr (!std::is_same_v<T, bool>) {
      return std::nullopt;
    }
    return static_cast<std::int64_t>(element);
  };
  const GgufArray* array = as_array(*value);
  auto results = array ? convert_all<std::int64_t>(*array, convert) : std::nullopt;
  if (!results) wrong_type(file_, key, *value, "an array of whole numbers");
  return results;
}

}  // namespace hearth::io
