// cvt. A register may be wider than the type that is read from it.
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

// The manual: no number becomes 0, unless .f64, .s64 or .u64 takes part; then only the highest bit
// is set. What the integer cannot hold becomes its least or greatest.
template <typename To, typename From>
To clamped(From rounded) {
  if (rounded != rounded) {
    if (sizeof(From) == 4 && sizeof(To) == 4) return 0;
    return static_cast<To>(std::make_unsigned_t<To>{1} << (8 * sizeof(To) - 1));
  }
  // Both are powers of two or zero, so that no rounding moves them.
  const From begin = static_cast<From>(std::numeric_limits<To>::min());
  const From end = std::ldexp(From{1}, std::numeric_limits<To>::digits);
  if (rounded < begin) return std::numeric_limits<To>::min();
  if (rounded >= end) return std::numeric_limits<To>::max();
  return static_cast<To>(rounded);
}

template <typename To, typename From>
void add_to_integer(Forms& forms, const std::string& to, const std::string& from) {
  const std::string end = "i." + to + "." + from;
  add(forms, "cvt.rn" + end, [](From x) { return clamped<To>(std::nearbyint(x)); });
  add(forms, "cvt.rz" + end, [](From x) { return clamped<To>(std::trunc(x)); });
  add(forms, "cvt.rm" + end, [](From x) { return clamped<To>(std::floor(x)); });
  add(forms, "cvt.rp" + end, [](From x) { return clamped<To>(std::ceil(x)); });
}

template <typename From>
void add_from_float(Forms& forms, const std::string& from) {
  add_to_integer<std::int32_t, From>(forms, "s32", from);
  add_to_integer<std::uint32_t, From>(forms, "u32", from);
  add_to_integer<std::int64_t, From>(forms, "s64", from);
  add_to_integer<std::uint64_t, From>(forms, "u64", from);
}

template <typename From, typename Register>
void add_from_register(Forms& forms, const std::string& from) {
  const auto to = [&]<typename To>(const std::string& type, To) {
    add(forms, "cvt." + type + "." + from,
        [](Register x) { return static_cast<To>(static_cast<From>(x)); });
  };
  to("u16", std::uint16_t{});
  to("s16", std::int16_t{});
  to("u32", std::uint32_t{});
  to("s32", std::int32_t{});
  to("u64", std::uint64_t{});
  to("s64", std::int64_t{});
  to("rn.f32", float{});
  to("rn.f64", double{});
}

template <typename From>
void add_from_integer(Forms& forms, const std::string& from) {
  if constexpr (sizeof(From) <= 2) add_from_register<From, std::uint16_t>(forms, from);
  if constexpr (sizeof(From) <= 4) add_from_register<From, std::uint32_t>(forms, from);
  add_from_register<From, std::uint64_t>(forms, from);
}

float from_half(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fff;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  if (magnitude > 0x7c00) return std::bit_cast<float>(0x7fffffffu);
  if (magnitude == 0x7c00) return std::bit_cast<float>(sign | 0x7f800000);
  // With 112 more in the exponent, subnormals are exact as well.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

std::uint16_t to_half(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const float magnitude = std::fabs(x);
  if (magnitude != magnitude) return 0x7fff;
  std::uint32_t half;
  if (magnitude >= 65520) {
    half = 0x7c00;  // to the nearest: 65519.99 is 65504
  } else if (magnitude < 0x1p-14f) {
    half = static_cast<std::uint32_t>(std::nearbyint(magnitude * 0x1p24f));
  } else {
    const std::uint32_t rebased = std::bit_cast<std::uint32_t>(magnitude) - (112u << 23);
    half = (rebased + 0xfff + (rebased >> 13 & 1)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

float to_float(double x) {
  return x != x ? std::bit_cast<float>(0x7fffffffu) : static_cast<float>(x);
}

}  // namespace

void add_conversions(Forms& forms) {
  add_from_integer<std::uint8_t>(forms, "u8");
  add_from_integer<std::int8_t>(forms, "s8");
  add_from_integer<std::uint16_t>(forms, "u16");
  add_from_integer<std::int16_t>(forms, "s16");
  add_from_integer<std::uint32_t>(forms, "u32");
  add_from_integer<std::int32_t>(forms, "s32");
  add_from_integer<std::uint64_t>(forms, "u64");
  add_from_integer<std::int64_t>(forms, "s64");
  add_from_float<float>(forms, "f32");
  add_from_float<double>(forms, "f64");
  add(forms, "cvt.f64.f32", [](float x) { return static_cast<double>(x); });
  add(forms, "cvt.rn.f32.f64", [](double x) { return to_float(x); });
  add(forms, "cvt.f32.f16", [](std::uint16_t x) { return from_half(x); });
  add(forms, "cvt.rn.f16.f32", [](float x) { return to_half(x); });
}

}  // namespace hearth::ptx
