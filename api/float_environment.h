// The floating-point environment that the arithmetic is specified in: rounds to nearest, keeps
// subnormal numbers, traps nothing. That of the calling program may be another, and is there again
// after each call, its flags included. Threads that are started meanwhile inherit this one.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace hearth::border {

#if defined(__x86_64__)
// Of the vector unit alone, which computes all: the older one takes a tenth of a microsecond.
class FloatEnvironment {
 public:
  FloatEnvironment() noexcept { _mm_setcsr(kOfNewPrograms); }
  ~FloatEnvironment() { _mm_setcsr(callers_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  static constexpr unsigned kOfNewPrograms = 0x1f80;
  const unsigned callers_ = _mm_getcsr();
};
#else
class FloatEnvironment {
 public:
  FloatEnvironment() noexcept {
    std::fegetenv(&callers_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&callers_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  std::fenv_t callers_;
};
#endif

}  // namespace hearth::border
