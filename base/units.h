// Quantities with their unit in the type. Durations are std::chrono; sizes are Bytes.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace hearth {

using Nanoseconds = std::chrono::nanoseconds;

inline double seconds(Nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

// An amount of memory or data. Arithmetic is unchecked: amounts read from files are validated
// against the size of the file before they become Bytes (see base/checked_math.h).
struct Bytes {
  std::uint64_t count = 0;

  constexpr Bytes() = default;
  constexpr explicit Bytes(std::uint64_t n) : count(n) {}

  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes other) { return count += other.count, *this; }
  constexpr Bytes& operator-=(Bytes other) { return count -= other.count, *this; }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.count + b.count); }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.count - b.count); }
  friend constexpr Bytes operator*(Bytes a, std::uint64_t n) { return Bytes(a.count * n); }
  friend constexpr Bytes operator*(std::uint64_t n, Bytes a) { return Bytes(a.count * n); }
  friend constexpr std::uint64_t operator/(Bytes a, Bytes b) { return a.count / b.count; }
};

constexpr Bytes kKiB{1024};
constexpr Bytes kMiB{1024 * 1024};
constexpr Bytes kGiB{1024ull * 1024 * 1024};

// Rounds up to a multiple of `step`, any positive number.
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t step) {
  return value / step * step;
}

}  // namespace hearth
