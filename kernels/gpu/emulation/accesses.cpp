// What the compiler reports of the kernels' accesses. Their sources are compiled with
// -fsanitize=thread and linked without its runtime, whose functions these are.
#include <cstddef>
#include <cstring>

#include "kernels/gpu/emulation/block_runner.h"

namespace {

using hearth::kernels::emulated::Access;

// From anywhere in the program.
inline void note(const void* at, std::size_t bytes, Access access, const void* code) {
  if (hearth::kernels::emulated::accesses_watched)
    hearth::kernels::emulated::note_access(at, bytes, access, code);
}
inline void note_unaligned(const void* at, std::size_t bytes, Access access, const void* code) {
  if (hearth::kernels::emulated::accesses_watched)
    hearth::kernels::emulated::note_unaligned_access(at, bytes, access, code);
}

}  // namespace

#define HEARTH_ACCESSES(bytes)                                              \
  void __tsan_read##bytes(void* at) {                                       \
    note(at, bytes, Access::kRead, __builtin_return_address(0));            \
  }                                                                         \
  void __tsan_write##bytes(void* at) {                                      \
    note(at, bytes, Access::kWrite, __builtin_return_address(0));           \
  }                                                                         \
  void __tsan_unaligned_read##bytes(void* at) {                             \
    note_unaligned(at, bytes, Access::kRead, __builtin_return_address(0));  \
  }                                                                         \
  void __tsan_unaligned_write##bytes(void* at) {                            \
    note_unaligned(at, bytes, Access::kWrite, __builtin_return_address(0)); \
  }

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void) {}
HEARTH_ACCESSES(1)
HEARTH_ACCESSES(2)
HEARTH_ACCESSES(4)
HEARTH_ACCESSES(8)
HEARTH_ACCESSES(16)
void __tsan_read_range(void* at, std::size_t bytes) {
  note_unaligned(at, bytes, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* at, std::size_t bytes) {
  note_unaligned(at, bytes, Access::kWrite, __builtin_return_address(0));
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  note_unaligned(from, bytes, Access::kRead, __builtin_return_address(0));
  note_unaligned(to, bytes, Access::kWrite, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  note_unaligned(from, bytes, Access::kRead, __builtin_return_address(0));
  note_unaligned(to, bytes, Access::kWrite, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int byte, std::size_t bytes) {
  note_unaligned(to, bytes, Access::kWrite, __builtin_return_address(0));
  return std::memset(to, byte, bytes);
}
}
