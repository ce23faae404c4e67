// The border of the library: exceptions become status codes and messages here.
//
// Every function of the C API is the body of one guarded() call, so that nothing can pass it.
#pragma once

#include <hearth/status.h>

#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "api/float_environment.h"
#include "api/held_cancellation.h"
#include "base/error.h"
#include "base/opening_process.h"

namespace hearth::border {

// Thrown where a callback or another thread asked to stop.
struct Stopped {
  const char* why;
};

// Remembers the message of this thread; takes no memory, and cuts what is longer.
inline constexpr std::size_t kLongestMessage = 4095;
void set_message(std::string_view message) noexcept;
hearth_status status_of(ErrorCode code) noexcept;
// The status of what is being thrown, whose message becomes that of this thread.
hearth_status status_of_exception() noexcept;

template <typename Body>
hearth_status guarded(Body&& body) noexcept {
  const FloatEnvironment specified;
  const HeldCancellation held;
  try {
    body();
    return HEARTH_OK;
  } catch (...) {
    return status_of_exception();
  }
}

// Thrown by the checks of arguments: `status` is HEARTH_ERROR_USAGE or HEARTH_ERROR_STATE.
class Misuse {
 public:
  template <typename... Args>
  explicit Misuse(hearth_status status, fmt::format_string<Args...> line, Args&&... args)
      : status_(status), line_(fmt::format(line, std::forward<Args>(args)...)) {}
  hearth_status status() const { return status_; }
  std::string_view line() const { return line_; }

 private:
  hearth_status status_;
  std::string line_;
};

// What a pointer points to; Misuse where it is null.
template <typename T>
T& required(T* pointer, const char* name) {
  if (pointer == nullptr) throw Misuse(HEARTH_ERROR_USAGE, "{} is null; give one", name);
  return *pointer;
}

// HEARTH_ERROR_STATE in a process that was forked from the one in which `what` was opened.
void check(const OpeningProcess& process, const char* what);

void check_struct_size(std::size_t size, std::size_t least, const char* name);
void check_unknown_is_zero(const void* given, std::size_t size, std::size_t known,
                           const char* name);

// A struct of options as this version knows it: what the caller's has not is zero. `first_size` is
// that of the first version of the struct.
template <typename T>
T taken(const T* given, std::size_t first_size, const char* name) {
  const std::size_t size = required(given, name).size;
  check_struct_size(size, first_size, name);
  check_unknown_is_zero(given, size, sizeof(T), name);
  T known{};
  std::memcpy(&known, given, size < sizeof(T) ? size : sizeof(T));
  return known;
}

// Fills as much of the caller's struct as it has; `size` stays.
template <typename T>
void fill(T* given, const T& filled, std::size_t first_size, const char* name) {
  const std::size_t size = required(given, name).size;
  check_struct_size(size, first_size, name);
  std::memcpy(given, &filled, size < sizeof(T) ? size : sizeof(T));
  given->size = size;
}

}  // namespace hearth::border
