// setp: of integers, and of floats ordered (false where one is no number) and unordered (true
// there).
#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

template <typename T>
void add_equality(Forms& forms, const std::string& type) {
  add(forms, "setp.eq." + type, [](T a, T b) { return flag(a == b); });
  add(forms, "setp.ne." + type, [](T a, T b) { return flag(a != b); });
}

template <typename T>
void add_order(Forms& forms, const std::string& type, const std::string& less,
               const std::string& less_equal, const std::string& greater,
               const std::string& greater_equal) {
  add(forms, "setp." + less + "." + type, [](T a, T b) { return flag(a < b); });
  add(forms, "setp." + less_equal + "." + type, [](T a, T b) { return flag(a <= b); });
  add(forms, "setp." + greater + "." + type, [](T a, T b) { return flag(a > b); });
  add(forms, "setp." + greater_equal + "." + type, [](T a, T b) { return flag(a >= b); });
}

template <typename T>
void add_floats(Forms& forms, const std::string& type) {
  const std::string end = "." + type;
  add_order<T>(forms, type, "lt", "le", "gt", "ge");
  add(forms, "setp.eq" + end, [](T a, T b) { return flag(a == b); });
  add(forms, "setp.ne" + end, [](T a, T b) { return flag(a < b || a > b); });
  add(forms, "setp.equ" + end, [](T a, T b) { return flag(!(a < b || a > b)); });
  add(forms, "setp.neu" + end, [](T a, T b) { return flag(a != b); });
  add(forms, "setp.ltu" + end, [](T a, T b) { return flag(!(a >= b)); });
  add(forms, "setp.leu" + end, [](T a, T b) { return flag(!(a > b)); });
  add(forms, "setp.gtu" + end, [](T a, T b) { return flag(!(a <= b)); });
  add(forms, "setp.geu" + end, [](T a, T b) { return flag(!(a < b)); });
  add(forms, "setp.num" + end, [](T a, T b) { return flag(a == a && b == b); });
  add(forms, "setp.nan" + end, [](T a, T b) { return flag(a != a || b != b); });
}

template <typename Unsigned, typename Signed>
void add_integers(Forms& forms, const std::string& width) {
  for (const char* kind : {"b", "u", "s"}) add_equality<Unsigned>(forms, kind + width);
  add_order<Signed>(forms, "s" + width, "lt", "le", "gt", "ge");
  add_order<Unsigned>(forms, "u" + width, "lt", "le", "gt", "ge");
  add_order<Unsigned>(forms, "u" + width, "lo", "ls", "hi", "hs");
}

}  // namespace

void add_comparisons(Forms& forms) {
  add_integers<std::uint16_t, std::int16_t>(forms, "16");
  add_integers<std::uint32_t, std::int32_t>(forms, "32");
  add_integers<std::uint64_t, std::int64_t>(forms, "64");
  add_floats<float>(forms, "f32");
  add_floats<double>(forms, "f64");
}

}  // namespace hearth::ptx
