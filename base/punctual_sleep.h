// Short sleeps that end in time. Linux wakes a thread up to 50 us late, so as to wake several at
// once, unless it asks for better.
#pragma once

#include <sys/prctl.h>

namespace hearth {

// Of this thread, as long as there is one of these. Where the system refuses, sleeps are as ever.
class PunctualSleep {
 public:
  PunctualSleep() : slack_(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)) {
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  }
  ~PunctualSleep() {
    if (slack_ > 0) prctl(PR_SET_TIMERSLACK, slack_, 0, 0, 0);
  }
  PunctualSleep(const PunctualSleep&) = delete;
  PunctualSleep& operator=(const PunctualSleep&) = delete;

 private:
  const int slack_;  // before, in nanoseconds
};

}  // namespace hearth
