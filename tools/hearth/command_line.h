// The flags of one subcommand: declared once, with help, environment twin and the spellings of
// llama.cpp.
//
//   CommandLine line("inspect", "Describe a model file");
//   line.group("Model");
//   line.add({.names = "-m,--model,MODEL", .value = "FILE", .help = "GGUF file", .required = true},
//            options.model);
//   if (!line.parse(arguments)) return 0;  // --help was printed
//
// Every long flag has a twin in the environment, --ctx-size: HEARTH_ARG_CTX_SIZE; the flag wins.
// Nothing is ignored: an unknown flag, a flag given twice and a flag of llama.cpp without effect
// here are errors; a twin that is not a flag of the subcommand is a printed line.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/units.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

struct Flag {
  // "-m,--model", with ",MODEL" where it may also stand without a flag. "FILES" alone never has a
  // flag, nor a twin in the environment; repeatable, it takes all that is left and comes last.
  std::string_view names = {};
  std::string_view value = {};  // what to call the value in the help; empty: the flag takes none
  std::string_view help = {};
  bool required = false;
  std::vector<std::string> choices = {};  // empty: any value
  bool writes = false;                    // that of no other flag; with |- in `value`, - is stdout
};

// A flag that writes to a file was given -, which would silently be one of that name.
void refuse_standard_output(std::string_view flag, std::string_view file);

class CommandLine {
 public:
  CommandLine(std::string_view subcommand, std::string_view summary);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // The heading, in the help, of the flags added from here on.
  void group(std::string_view title);

  // `variable` keeps its value, which the help shows as the default, where the flag is not given.
  // T: std::string, float, double, any integer, Bytes, SizeOrShare, std::optional of these, or
  // std::vector<std::string>, which lets the flag be repeated.
  template <typename T>
  void add(const Flag& flag, T& variable);
  // A flag without a value: sets `variable`. "!--no-jinja" as a name makes that name clear it.
  void add(const Flag& flag, bool& variable);

  // A flag that is answered, and nothing else happens: parse() is then false. It asks for no flag
  // that is required.
  void add_question(const Flag& flag, std::function<void()> answer);

  // `check` is called at the end of parse(), for what flags mean together.
  void check(std::function<void()> check);

  // The arguments after the subcommand. False if --help was asked for and has been printed, or a
  // question was answered.
  // Throws Error(kUsage).
  [[nodiscard]] bool parse(const std::vector<std::string>& arguments);

  // Whether the flag was given, as an argument or in the environment.
  bool given(std::string_view name) const;
  // A flag of that group that was given; empty if none was.
  std::string given_in(std::string_view group) const;

 private:
  struct State;
  using Assign = std::function<void(const std::string&)>;
  void add_value(const Flag& flag, const std::string& default_text, bool repeatable, Assign assign);

  std::unique_ptr<State> state_;
};

namespace detail {

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
T parse_value(const std::string& text) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return parse_size(text);
  } else if constexpr (std::is_same_v<T, SizeOrShare>) {
    return parse_size_or_share(text);
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(parse_real(text, std::numeric_limits<T>::max()));
  } else if constexpr (std::is_unsigned_v<T>) {
    return static_cast<T>(parse_unsigned(text, std::numeric_limits<T>::max()));
  } else {
    return static_cast<T>(
        parse_integer(text, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  }
}

template <typename T>
std::string default_text(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return format_size(value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return fmt::format("{}", value);
  } else {
    return {};
  }
}

}  // namespace detail

template <typename T>
void CommandLine::add(const Flag& flag, T& variable) {
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    add_value(flag, {}, true, [&variable](const std::string& text) { variable.push_back(text); });
  } else if constexpr (detail::IsOptional<T>::value) {
    add_value(flag, {}, false, [&variable](const std::string& text) {
      variable = detail::parse_value<typename T::value_type>(text);
    });
  } else {
    add_value(flag, detail::default_text(variable), false,
              [&variable](const std::string& text) { variable = detail::parse_value<T>(text); });
  }
}

}  // namespace hearth::tools
