// Signals that end a subcommand early, for those that have something to finish or to clean up:
// Ctrl-C (SIGINT), an end that is asked for (SIGTERM), a terminal that closed (SIGHUP), and a
// reader of standard output that left (SIGPIPE).
#pragma once

#include <exception>

namespace hearth::tools {

// Thrown to leave the program after such a signal.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(int signal) : signal_(signal) {}
  int exit_code() const { return 128 + signal_; }  // what a shell reports
  const char* what() const noexcept override { return "interrupted"; }

 private:
  int signal_;
};

// Whether output was lost because its reader left: then nobody wants to hear of it.
bool reader_left();

// While one exists, the first signal only sets a mark, and another Ctrl-C ends the process at once.
// A signal that the caller has ignored stays so, as `nohup` wants it; but Ctrl-C. What goes to a
// terminal that closed is lost, and no error. At most one at a time; conductor thread.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();  // the previous meanings are restored
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const;
  bool must_end() const;     // by more than Ctrl-C, which in a conversation ends a reply
  int exit_code() const;     // 0 without a signal
  void clear();              // the next Ctrl-C is a first one again
  void leave_at_the_next();  // the next signal ends the process at once
  void throw_if_interrupted() const;
};

}  // namespace hearth::tools
