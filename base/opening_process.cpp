#include "base/opening_process.h"

#include <pthread.h>

#include <atomic>
#include <new>

namespace hearth {
namespace {

std::atomic<std::uint64_t> forks{0};

// Once; the C library forgets it when this code is unloaded.
void count_forks() {
  static const int refused =
      pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  if (refused != 0) throw std::bad_alloc();  // its only reason
}

}  // namespace

OpeningProcess::OpeningProcess() {
  count_forks();
  forks_ = forks.load(std::memory_order_relaxed);
}

bool OpeningProcess::is_this_one() const { return forks_ == forks.load(std::memory_order_relaxed); }

}  // namespace hearth
