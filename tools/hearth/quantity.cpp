#include "tools/hearth/quantity.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace hearth::tools {
namespace {

struct Number {
  double value = 0;
  std::string_view rest;  // what follows it, without leading spaces
};

// A non-negative decimal number at the front of `text`; empty if there is none.
std::optional<Number> leading_number(std::string_view text) {
  if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) return std::nullopt;
  Number number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number.value,
                                            std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  number.rest = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!number.rest.empty() && number.rest[0] == ' ') number.rest.remove_prefix(1);
  return number;
}

std::optional<double> unit_factor(std::string_view unit) {
  std::string lower;
  for (const char c : unit) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (lower.empty() || lower == "b") return 1.0;
  const std::size_t power = std::string_view("kmgt").find(lower[0]);
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = std::string_view(lower).substr(1);
  const double exponent = static_cast<double>(power + 1);
  if (suffix.empty() || suffix == "i" || suffix == "ib") return std::pow(1024.0, exponent);
  if (suffix == "b") return std::pow(1000.0, exponent);
  return std::nullopt;
}

// `value` with three significant digits where it has a fraction.
std::string three_digits(double value) {
  if (value < 9.995) return fmt::format("{:.2f}", value);
  if (value < 99.95) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

template <std::size_t n>
std::string scaled(double value, double step, const std::array<std::string_view, n>& units) {
  std::size_t unit = 0;
  // 999.5 would print as "1000" of the smaller unit.
  while (unit + 1 < n && value >= step - 0.5) value /= step, ++unit;
  return fmt::format("{} {}", three_digits(value), units[unit]);
}

}  // namespace

Bytes parse_size(std::string_view text) {
  const std::optional<Number> number = leading_number(text);
  const std::optional<double> factor = number ? unit_factor(number->rest) : std::nullopt;
  if (!factor)
    throw_error(ErrorCode::kUsage, "'{}' is not a size; write for example 6GiB, 512MiB or 1.5GB",
                printable(text));
  const double bytes = std::round(number->value * *factor);
  if (!(bytes < 0x1p63))
    throw_error(ErrorCode::kUsage, "'{}' is more than any machine holds", printable(text));
  return Bytes(static_cast<std::uint64_t>(bytes));
}

SizeOrShare parse_size_or_share(std::string_view text) {
  if (text.empty() || text.back() != '%') return {parse_size(text), 0};
  const std::optional<Number> number = leading_number(text);
  if (!number || number->rest != "%" || !(number->value > 0) || number->value > 100)
    throw_error(ErrorCode::kUsage,
                "'{}' is not a share above 0% and up to 100%; write for example 25%",
                printable(text));
  return {std::nullopt, number->value / 100};
}

Bytes SizeOrShare::of(Bytes whole) const {
  if (size) return *size;
  return Bytes(static_cast<std::uint64_t>(std::round(static_cast<double>(whole.count) * share)));
}

std::int64_t parse_integer(std::string_view text, std::int64_t lowest, std::int64_t highest) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size())
    throw_error(ErrorCode::kUsage, "'{}' is not a whole number", printable(text));
  if (error != std::errc() || value < lowest || value > highest)
    throw_error(ErrorCode::kUsage, "{} is not between {} and {}", printable(text), lowest, highest);
  return value;
}

std::uint64_t parse_unsigned(std::string_view text, std::uint64_t highest) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size())
    throw_error(ErrorCode::kUsage, "'{}' is not a whole number of 0 or more", printable(text));
  if (error != std::errc() || value > highest)
    throw_error(ErrorCode::kUsage, "{} is more than {}", printable(text), highest);
  return value;
}

double parse_real(std::string_view text, double highest) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    throw_error(ErrorCode::kUsage, "'{}' is not a number", printable(text));
  if (std::abs(value) > highest)
    throw_error(ErrorCode::kUsage, "{} is not between -{} and {}", printable(text), highest,
                highest);
  return value;
}

std::string format_size(Bytes size) {
  if (size < kKiB) return fmt::format("{} B", size.count);
  static constexpr std::array<std::string_view, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  return scaled(static_cast<double>(size.count) / 1024, 1024, kUnits);
}

std::string format_rate(Bytes amount, Nanoseconds time) {
  if (time.count() <= 0) return "-";
  static constexpr std::array<std::string_view, 5> kUnits{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
  return scaled(static_cast<double>(amount.count) / seconds(time), 1000, kUnits);
}

std::string format_duration(Nanoseconds time) {
  const std::int64_t ns = time.count();
  if (ns < 0) return "-" + format_duration(-time);
  if (ns < 1000) return fmt::format("{} ns", ns);
  static constexpr std::array<std::string_view, 3> kUnits{"µs", "ms", "s"};
  if (ns < 59'950'000'000) return scaled(static_cast<double>(ns) / 1e3, 1000, kUnits);
  const std::int64_t s = (ns + 500'000'000) / 1'000'000'000;
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

std::string format_count(std::uint64_t count) {
  if (count < 1000) return fmt::format("{}", count);
  static constexpr std::array<std::string_view, 4> kUnits{"K", "M", "B", "T"};
  return scaled(static_cast<double>(count) / 1000, 1000, kUnits);
}

std::string format_grouped(std::uint64_t count) {
  std::string digits = fmt::format("{}", count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace hearth::tools
