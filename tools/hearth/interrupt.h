// Ctrl-C, for subcommands that have something to finish or to clean up.
#pragma once

#include <exception>

namespace hearth::tools {

inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, what a shell reports

// Thrown to leave the program after Ctrl-C; main() turns it into kExitInterrupted.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

// While one exists, the first Ctrl-C only sets a mark and the second ends the process at once.
// At most one at a time; conductor thread.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();  // the previous meaning of Ctrl-C is restored
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;
  void clear();              // the next Ctrl-C is a first one again
  void leave_at_the_next();  // the next Ctrl-C is a second one
  void throw_if_interrupted() const;
};

}  // namespace hearth::tools
