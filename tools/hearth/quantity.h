// Amounts as people write and read them: "6GiB", "25%", "2.31 GB/s", "1.5 ms".
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"

namespace hearth::tools {

// "6GiB", "6G" and "6g" are 6 × 2^30; "6GB" is 6 × 10^9; a plain number is bytes. Fractions are
// rounded to the nearest byte. K, M, G and T in either case. Throws Error(kUsage).
Bytes parse_size(std::string_view text);

// A size, or a share of something that is known only later.
struct SizeOrShare {
  std::optional<Bytes> size;
  double share = 0;  // in (0, 1], where there is no size

  Bytes of(Bytes whole) const;
};

// Like parse_size, and "25%" (more than 0, at most 100).
SizeOrShare parse_size_or_share(std::string_view text);

// Decimal numbers without octal or hexadecimal surprises. Throw Error(kUsage).
std::int64_t parse_integer(std::string_view text, std::int64_t lowest, std::int64_t highest);
std::uint64_t parse_unsigned(std::string_view text, std::uint64_t highest);
double parse_real(std::string_view text,
                  double highest = std::numeric_limits<double>::max());  // of its magnitude

std::string format_size(Bytes size);                      // "512 B", "2.94 GiB"
std::string format_rate(Bytes amount, Nanoseconds time);  // "2.31 GB/s", decimal as for links
std::string format_duration(Nanoseconds time);            // "850 ns", "1.5 ms", "2 min 03 s"
std::string format_count(std::uint64_t count);            // "128", "4.10 K", "30.5 B"
std::string format_grouped(std::uint64_t count);          // "1,234,567"

}  // namespace hearth::tools
