#include "tests/cudart/exit_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cudart/calls.h"
#include "tests/cudart/memory.h"
#include "tests/cudart/settings.h"
#include "tests/cudart/state.h"

namespace hearth::cudart {
namespace {

template <typename Handles>
void list(std::vector<std::string>& lines, const char* what, const Handles& handles) {
  if (const std::size_t left = handles.all().size(); left > 0)
    lines.push_back(fmt::format("{} {}", left, what));
}

// A device that failed answers nothing, so that nothing can be given back to it.
void report() {
  const std::lock_guard lock(state().mutex);
  if (device_error() != cudaSuccess) return;
  std::vector<std::string> lines = memory().leaks();
  list(lines, "streams", state().streams);
  list(lines, "events", state().events);
  list(lines, "graphs", state().graphs);
  list(lines, "executable graphs", state().executables);
  for (const std::string& line : lines) fmt::print(stderr, "cudart: left at the end: {}\n", line);
  if (!settings().fails_on_leaks || (lines.empty() && !was_misused())) return;
  std::fflush(nullptr);
  _exit(1);
}

}  // namespace

void report_at_exit() {
  static const int registered = std::atexit(report);
  static_cast<void>(registered);
}

}  // namespace hearth::cudart
