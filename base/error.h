// The three kinds of failure.
//  - A bug: CHECK (base/check.h) aborts.
//  - The world (file, device, user): throw hearth::Error.
//  - Expected trouble (a dropped prefetch, a full queue): a counter, and the work goes on.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace hearth {

enum class ErrorCode {
  kUsage,        // the caller asked for something that makes no sense; exit code 2
  kNotFound,     // a file or a part of a split file is missing
  kIo,           // reading or writing failed
  kBadFile,      // the bytes are not what the format demands
  kUnsupported,  // well-formed, but of a kind this program does not run
  kBudget,       // the memory budget cannot hold what is needed
  kBadInput,     // a prompt or text that cannot be processed
  kNumerics,     // logits that are not finite
  kDevice,       // a GPU failed, or there is none that can be used; exit code 3
};

// `what()` is one line: what happened, where, and what to do about it.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& line) : std::runtime_error(line), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// throw_error(ErrorCode::kBadFile, "{}: truncated at byte {}; download it again", path, offset);
template <typename... Args>
[[noreturn]] void throw_error(ErrorCode code, fmt::format_string<Args...> line, Args&&... args) {
  throw Error(code, fmt::format(line, std::forward<Args>(args)...));
}

// Bytes from a file or a user made safe for a one-line message: control characters and invalid
// UTF-8 become \xNN, and anything past `max_bytes` becomes "...".
std::string printable(std::string_view text, std::size_t max_bytes = 80);

}  // namespace hearth
