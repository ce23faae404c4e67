// A thread that is cancelled (pthread_cancel()) first finishes its call. What unwinds it may not be
// caught for good, which the border does with everything: it would end the program.
#pragma once

#include <pthread.h>

namespace hearth::border {

class HeldCancellation {
 public:
  HeldCancellation() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~HeldCancellation() { pthread_setcancelstate(before_, nullptr); }
  HeldCancellation(const HeldCancellation&) = delete;
  HeldCancellation& operator=(const HeldCancellation&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace hearth::border
