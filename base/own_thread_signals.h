// While one is there, threads that are started get no signal that is meant for the process: its
// handlers run in threads of the program, whose calls they interrupt, and whose stacks they know.
// Those remain that a thread's own instructions raise, and SIGPROF, by which profilers find it.
#pragma once

#include <signal.h>

#include <initializer_list>

namespace hearth {

class OwnThreadSignals {
 public:
  OwnThreadSignals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int kept : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
      sigdelset(&blocked, kept);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~OwnThreadSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  OwnThreadSignals(const OwnThreadSignals&) = delete;
  OwnThreadSignals& operator=(const OwnThreadSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace hearth
