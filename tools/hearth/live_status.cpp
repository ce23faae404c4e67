#include "tools/hearth/live_status.h"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "tools/hearth/interrupt.h"

namespace hearth::tools {
namespace {

constexpr Nanoseconds kRedrawInterval = std::chrono::milliseconds(150);

// ECMA-48: IND moves down a row and scrolls at the bottom, keeping the column; CUU moves up. Done
// before the position is saved (DECSC), they make sure that there is a row below to draw on.
constexpr const char* kMakeRoom =
    "\x1b"
    "D\x1b[A";
constexpr const char* kSave =
    "\x1b"
    "7";
constexpr const char* kNextRow = "\x1b[B\r\x1b[K";
constexpr const char* kRestore =
    "\x1b"
    "8";

}  // namespace

LiveStatus::LiveStatus()
    : active_(terminal_of(stdout).interactive && terminal_of(stderr).interactive),
      traits_(terminal_of(stderr)) {}

bool LiveStatus::due(Nanoseconds now) const { return active_ && now - drawn_ >= kRedrawInterval; }

void LiveStatus::show(std::string_view text, Nanoseconds now) {
  if (!active_) return;
  std::fflush(stdout);
  const std::string_view dim = traits_.colour ? "\x1b[2m" : "",
                         plain = traits_.colour ? "\x1b[m" : "";
  fmt::print(stderr, "{}{}{}{}{}{}{}", kMakeRoom, kSave, kNextRow, dim,
             first_columns(text, traits_.columns - 1), plain, kRestore);
  std::fflush(stderr);
  shown_ = true;
  drawn_ = now;
}

void LiveStatus::clear() {
  if (!shown_) return;
  // In a destructor, too: a terminal that is gone is no error here.
  for (const char* drawn : {kSave, kNextRow, kRestore}) std::fputs(drawn, stderr);
  std::fflush(stderr);
  shown_ = false;
}

void LiveStatus::write_text(std::string_view text) {
  if (text.empty()) return;
  clear();
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return;
  if (reader_left()) throw Interrupted(SIGPIPE);
  throw_error(ErrorCode::kIo, "standard output cannot be written: {}; is the disk full?",
              std::strerror(errno));
}

}  // namespace hearth::tools
