// The places where the readers meet the operating system, so that tests can make each of them fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

struct io_uring;
struct io_uring_params;
struct iovec;

namespace hearth::io {

class KernelCalls {
 public:
  virtual ~KernelCalls() = default;

  // Zero or more, or the negative errno, throughout.
  virtual int open(const char* path, int flags);
  virtual int set_up_ring(unsigned entries, io_uring* ring, io_uring_params* params);
  virtual int register_buffers(io_uring* ring, const iovec* buffers, unsigned count);
  // Hands over what is prepared, waits for so many completions.
  virtual int enter(io_uring* ring, unsigned completions);

  // Every attempt to read passes its result through here, in both back ends: bytes read, 0 at the
  // end of the file, or the negative errno. `destination` is what the attempt was to fill. Called
  // by the threads of the pread pool at the same time.
  virtual std::int32_t read_result(std::span<std::byte> destination, std::int32_t result);
};

}  // namespace hearth::io
