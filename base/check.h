// Checks for bugs, in release builds too. A failed check prints both values and aborts.
//   CHECK(lease.valid());
//   CHECK_LT(expert, expert_count);
#pragma once

#include <fmt/format.h>

namespace hearth::detail {

[[noreturn]] void check_failed(const char* file, int line, const char* text,
                               const std::string& values);

template <typename A, typename B>
[[noreturn, gnu::noinline, gnu::cold]] void comparison_failed(const char* file, int line,
                                                              const char* text, const A& a,
                                                              const B& b) {
  check_failed(file, line, text, fmt::format(" ({} against {})", a, b));
}

}  // namespace hearth::detail

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? void()                                      \
       : ::hearth::detail::check_failed(__FILE__, __LINE__, #condition, {}))

#define HEARTH_CHECK_COMPARISON(a, op, b)                                                  \
  do {                                                                                     \
    const auto& check_a_ = (a);                                                            \
    const auto& check_b_ = (b);                                                            \
    if (__builtin_expect(!(check_a_ op check_b_), 0))                                      \
      ::hearth::detail::comparison_failed(__FILE__, __LINE__, #a " " #op " " #b, check_a_, \
                                          check_b_);                                       \
  } while (false)

#define CHECK_EQ(a, b) HEARTH_CHECK_COMPARISON(a, ==, b)
#define CHECK_NE(a, b) HEARTH_CHECK_COMPARISON(a, !=, b)
#define CHECK_LT(a, b) HEARTH_CHECK_COMPARISON(a, <, b)
#define CHECK_LE(a, b) HEARTH_CHECK_COMPARISON(a, <=, b)
#define CHECK_GT(a, b) HEARTH_CHECK_COMPARISON(a, >, b)
#define CHECK_GE(a, b) HEARTH_CHECK_COMPARISON(a, >=, b)
