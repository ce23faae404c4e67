#include "io/kernel_calls.h"

#include <fcntl.h>
#include <liburing.h>

#include <cerrno>

namespace hearth::io {

int KernelCalls::open(const char* path, int flags) {
  int fd;
  do fd = ::open(path, flags);
  while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

int KernelCalls::set_up_ring(unsigned entries, io_uring* ring, io_uring_params* params) {
  return io_uring_queue_init_params(entries, ring, params);
}

int KernelCalls::register_buffers(io_uring* ring, const iovec* buffers, unsigned count) {
  return io_uring_register_buffers(ring, buffers, count);
}

int KernelCalls::enter(io_uring* ring, unsigned completions) {
  return io_uring_submit_and_wait(ring, completions);
}

std::int32_t KernelCalls::read_result(std::span<std::byte>, std::int32_t result) { return result; }

}  // namespace hearth::io
