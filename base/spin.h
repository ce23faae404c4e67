// Waiting for another thread for less time than sleeping takes.
#pragma once

namespace hearth {

// Between two looks: leaves the core's other thread and the memory more of their time.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace hearth
