#include "api/status.h"

#include <algorithm>
#include <array>

namespace hearth::border {
namespace {

constexpr std::size_t kMostStructBytes = std::size_t{1} << 16;

// A fixed array: also the lack of memory has a message.
thread_local std::array<char, kLongestMessage + 1> message_of_thread{};

hearth_status fail(hearth_status status, std::string_view line) noexcept {
  set_message(line);
  return status;
}

}  // namespace

void set_message(std::string_view message) noexcept {
  const std::size_t length = std::min(message.size(), kLongestMessage);
  std::copy_n(message.data(), length, message_of_thread.data());
  message_of_thread[length] = '\0';
}

hearth_status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kUsage:
      return HEARTH_ERROR_USAGE;
    case ErrorCode::kNotFound:
      return HEARTH_ERROR_NOT_FOUND;
    case ErrorCode::kIo:
      return HEARTH_ERROR_IO;
    case ErrorCode::kBadFile:
      return HEARTH_ERROR_BAD_FILE;
    case ErrorCode::kUnsupported:
      return HEARTH_ERROR_UNSUPPORTED;
    case ErrorCode::kBudget:
      return HEARTH_ERROR_BUDGET;
    case ErrorCode::kBadInput:
      return HEARTH_ERROR_BAD_INPUT;
    case ErrorCode::kNumerics:
      return HEARTH_ERROR_NUMERICS;
    case ErrorCode::kDevice:
      return HEARTH_ERROR_DEVICE;
  }
  return HEARTH_ERROR_INTERNAL;
}

hearth_status status_of_exception() noexcept {
  try {
    throw;
  } catch (const Stopped& stopped) {
    return fail(HEARTH_STOPPED, stopped.why);
  } catch (const Misuse& misuse) {
    return fail(misuse.status(), misuse.line());
  } catch (const Error& error) {
    return fail(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(HEARTH_ERROR_MEMORY, "the system refused memory; free some, or ask for less");
  } catch (const std::exception& error) {
    return fail(HEARTH_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(HEARTH_ERROR_INTERNAL, "something that is no exception of this library was thrown");
  }
}

void check(const OpeningProcess& process, const char* what) {
  if (!process.is_this_one())
    throw Misuse(HEARTH_ERROR_STATE,
                 "this process was forked from the one that opened the {}; open it anew here",
                 what);
}

void check_struct_size(std::size_t size, std::size_t least, const char* name) {
  if (size > kMostStructBytes)  // what was never set
    throw Misuse(HEARTH_ERROR_USAGE, "{}->size is {}, more than any struct has; set it", name,
                 size);
  if (size < least)
    throw Misuse(HEARTH_ERROR_USAGE, "{}->size is {}, less than the {} of version 0.1; set it",
                 name, size, least);
}

void check_unknown_is_zero(const void* given, std::size_t size, std::size_t known,
                           const char* name) {
  const auto* const bytes = static_cast<const unsigned char*>(given);
  for (std::size_t i = known; i < size; ++i)
    if (bytes[i] != 0)
      throw Misuse(HEARTH_ERROR_UNSUPPORTED,
                   "{} says something at byte {} that this version has not; use a newer libhearth",
                   name, i);
}

}  // namespace hearth::border

extern "C" {

const char* hearth_message(void) { return hearth::border::message_of_thread.data(); }

const char* hearth_version(void) { return HEARTH_VERSION; }

const char* hearth_status_name(hearth_status status) {
  static constexpr const char* kNames[] = {"HEARTH_OK",
                                           "HEARTH_STOPPED",
                                           "HEARTH_ERROR_USAGE",
                                           "HEARTH_ERROR_STATE",
                                           "HEARTH_ERROR_NOT_FOUND",
                                           "HEARTH_ERROR_IO",
                                           "HEARTH_ERROR_BAD_FILE",
                                           "HEARTH_ERROR_UNSUPPORTED",
                                           "HEARTH_ERROR_BUDGET",
                                           "HEARTH_ERROR_BAD_INPUT",
                                           "HEARTH_ERROR_NUMERICS",
                                           "HEARTH_ERROR_MEMORY",
                                           "HEARTH_ERROR_INTERNAL",
                                           "HEARTH_ERROR_DEVICE"};
  static_assert(std::size(kNames) == HEARTH_ERROR_DEVICE + 1);
  if (status < 0 || status > HEARTH_ERROR_DEVICE) return "unknown status";
  return kNames[status];
}
}
