// Arithmetic on integers and floats. Results of .f32 that are no number are the canonical one,
// 0x7fffffff.
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

float canonical(float x) { return x != x ? std::bit_cast<float>(0x7fffffffu) : x; }
double canonical(double x) { return x; }  // the ISA keeps what .f64 carries

// Sums and products wrap: those of the unsigned type, of at least int's width.
template <typename T>
using Wrapping = std::common_type_t<std::make_unsigned_t<T>, unsigned>;

template <typename T, bool remainder>
void divide(Warp& warp, const Instruction& instruction) {
  const T* a = warp.row<T>(instruction.operands[1]);
  const T* b = warp.row<T>(instruction.operands[2]);
  T results[kLanes] = {};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(warp.mask() >> lane & 1)) continue;
    if (b[lane] == 0) warp.fail(lane, "division by zero");
    const bool wraps = std::is_signed_v<T> && a[lane] == std::numeric_limits<T>::min() &&
                       b[lane] == static_cast<T>(-1);
    if constexpr (remainder)
      results[lane] = wraps ? T{0} : static_cast<T>(a[lane] % b[lane]);
    else
      results[lane] = wraps ? a[lane] : static_cast<T>(a[lane] / b[lane]);
  }
  warp.store(instruction.operands[0], results);
}

template <typename T>
void add_integers(Forms& forms, const std::string& type) {
  using U = Wrapping<T>;
  add(forms, "add." + type, [](T a, T b) { return static_cast<T>(U(a) + U(b)); });
  add(forms, "sub." + type, [](T a, T b) { return static_cast<T>(U(a) - U(b)); });
  add(forms, "mul.lo." + type, [](T a, T b) { return static_cast<T>(U(a) * U(b)); });
  add(forms, "mad.lo." + type, [](T a, T b, T c) { return static_cast<T>(U(a) * U(b) + U(c)); });
  add(forms, "min." + type, [](T a, T b) { return a < b ? a : b; });
  add(forms, "max." + type, [](T a, T b) { return a > b ? a : b; });
  forms.emplace("div." + type, Form{&divide<T, false>, 1, {sizeof(T), sizeof(T), sizeof(T)}});
  forms.emplace("rem." + type, Form{&divide<T, true>, 1, {sizeof(T), sizeof(T), sizeof(T)}});
  if constexpr (std::is_signed_v<T>) {
    add(forms, "neg." + type, [](T a) { return static_cast<T>(0 - U(a)); });
    add(forms, "abs." + type, [](T a) { return static_cast<T>(a < 0 ? 0 - U(a) : U(a)); });
  }
}

template <typename T, typename Wide>
void add_wide_products(Forms& forms, const std::string& type) {
  using U = Wrapping<Wide>;
  add(forms, "mul.wide." + type, [](T a, T b) { return static_cast<Wide>(Wide(a) * Wide(b)); });
  add(forms, "mad.wide." + type,
      [](T a, T b, Wide c) { return static_cast<Wide>(U(Wide(a) * Wide(b)) + U(c)); });
  add(forms, "mul.hi." + type,
      [](T a, T b) { return static_cast<T>(Wide(a) * Wide(b) >> 8 * sizeof(T)); });
}

template <typename T>
T least(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <typename T>
T greatest(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  return a > b || (a == b && std::signbit(b)) ? a : b;
}

template <typename T>
void add_floats(Forms& forms, const std::string& type) {
  add(forms, "add.rn." + type, [](T a, T b) { return canonical(a + b); });
  add(forms, "sub.rn." + type, [](T a, T b) { return canonical(a - b); });
  add(forms, "mul.rn." + type, [](T a, T b) { return canonical(a * b); });
  add(forms, "fma.rn." + type, [](T a, T b, T c) { return canonical(std::fma(a, b, c)); });
  add(forms, "div.rn." + type, [](T a, T b) { return canonical(a / b); });
  add(forms, "rcp.rn." + type, [](T a) { return canonical(1 / a); });
  add(forms, "sqrt.rn." + type, [](T a) { return canonical(std::sqrt(a)); });
  add(forms, "min." + type, [](T a, T b) { return least(a, b); });
  add(forms, "max." + type, [](T a, T b) { return greatest(a, b); });
  add(forms, "neg." + type, [](T a) { return -a; });
  add(forms, "abs." + type, [](T a) { return std::fabs(a); });
}

template <typename A, typename B>
std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t c) {
  std::uint32_t sum = static_cast<std::uint32_t>(c);
  for (unsigned i = 0; i < 4; ++i)
    sum += static_cast<std::uint32_t>(static_cast<A>(a >> 8 * i) * static_cast<B>(b >> 8 * i));
  return static_cast<std::int32_t>(sum);
}

// Halves of a with bytes of b, the lower two or the upper two.
template <typename A, typename B>
std::int32_t dot2(std::uint32_t a, std::uint32_t b, std::int32_t c) {
  const int low = static_cast<A>(a) * static_cast<B>(b);
  const int high = static_cast<A>(a >> 16) * static_cast<B>(b >> 8);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(c) + static_cast<std::uint32_t>(low) +
                                   static_cast<std::uint32_t>(high));
}

template <typename A8, typename A16, typename B8>
void add_dot_products(Forms& forms, const std::string& types) {
  using Word = std::uint32_t;
  using Sum = std::int32_t;
  add(forms, "dp4a." + types, [](Word a, Word b, Sum c) { return dot4<A8, B8>(a, b, c); });
  add(forms, "dp2a.lo." + types, [](Word a, Word b, Sum c) { return dot2<A16, B8>(a, b, c); });
  add(forms, "dp2a.hi." + types,
      [](Word a, Word b, Sum c) { return dot2<A16, B8>(a, b >> 16, c); });
}

}  // namespace

void add_arithmetic(Forms& forms) {
  add_integers<std::uint16_t>(forms, "u16");
  add_integers<std::int16_t>(forms, "s16");
  add_integers<std::uint32_t>(forms, "u32");
  add_integers<std::int32_t>(forms, "s32");
  add_integers<std::uint64_t>(forms, "u64");
  add_integers<std::int64_t>(forms, "s64");
  add_wide_products<std::uint16_t, std::uint32_t>(forms, "u16");
  add_wide_products<std::int16_t, std::int32_t>(forms, "s16");
  add_wide_products<std::uint32_t, std::uint64_t>(forms, "u32");
  add_wide_products<std::int32_t, std::int64_t>(forms, "s32");
  add_floats<float>(forms, "f32");
  add_floats<double>(forms, "f64");
  add_dot_products<std::int8_t, std::int16_t, std::int8_t>(forms, "s32.s32");
  add_dot_products<std::int8_t, std::int16_t, std::uint8_t>(forms, "s32.u32");
  add_dot_products<std::uint8_t, std::uint16_t, std::int8_t>(forms, "u32.s32");
  add_dot_products<std::uint8_t, std::uint16_t, std::uint8_t>(forms, "u32.u32");
}

}  // namespace hearth::ptx
