// Random reads of a file: back end x size of a read x reads outstanding, in GB/s.
//   bench_disk model.gguf
// Two kinds of load: steady (the queue is kept full) and bursts (a layer's missing experts are
// asked for together and waited for, as decode does).

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "io/arena.h"
#include "io/async_reader.h"
#include "io/disk_probe.h"

namespace hearth::io {
namespace {

std::unique_ptr<AsyncReader> open(const std::string& path, IoBackend backend, std::uint32_t depth) {
  return AsyncReader::open({path}, {.backend = backend, .queue_depth = depth});
}

void steady(const std::string& path, Bytes size) {
  fmt::print("\nsteady              GB/s at 1, 8, 32 reads outstanding\n");
  for (const IoBackend backend : {IoBackend::kUring, IoBackend::kPread})
    for (const Bytes read_size : {128 * kKiB, 512 * kKiB, kMiB, 3 * kMiB}) {
      fmt::print("{:<7} {:>5} KiB  ", backend == IoBackend::kUring ? "uring" : "pread",
                 read_size / kKiB);
      for (const std::uint32_t depth : {1u, 8u, 32u}) {
        const auto reader = open(path, backend, depth);
        const DiskRate rate = probe_disk(*reader, {.file_size = size,
                                                   .read_size = read_size,
                                                   .queue_depth = depth,
                                                   .max_bytes = 4 * kGiB});
        fmt::print("  {:5.2f}", rate.bytes_per_second() * 1e-9);
      }
      fmt::print("\n");
    }
}

// Waits for `experts` experts of three slabs of `slab` bytes each, again and again for a second.
DiskRate read_bursts(AsyncReader& reader, Bytes file_size, std::uint32_t experts, Bytes slab) {
  const std::uint32_t slabs = 3 * experts;
  Arena memory(slab * slabs);
  reader.register_memory(memory.bytes());
  std::vector<ReadRequest> requests(slabs);
  std::vector<ReadCompletion> finished(slabs);
  for (ReadRequest& request : requests) {
    request.destination = memory.take(slab, 4096);
    request.needed = slab.count;
  }
  Random random(1);
  const Nanoseconds start = steady_clock().now();
  while (steady_clock().now() - start < std::chrono::seconds(1)) {
    for (ReadRequest& request : requests)
      request.offset = random.below((file_size - slab).count / 4096) * 4096;
    reader.submit(requests);
    while (reader.reap(finished, AsyncReader::Wait::kOne) != 0) {
    }
  }
  return {.bytes = reader.bytes_read(), .time = steady_clock().now() - start};
}

void bursts(const std::string& path, Bytes size) {
  fmt::print("\nbursts of experts in three slabs of 1 MiB: GB/s at 1, 2, 4, 8 experts\n");
  for (const IoBackend backend : {IoBackend::kUring, IoBackend::kPread}) {
    fmt::print("{:<18}  ", backend == IoBackend::kUring ? "uring" : "pread");
    for (const std::uint32_t experts : {1u, 2u, 4u, 8u}) {
      const auto reader = open(path, backend, 64);
      fmt::print("  {:5.2f}", read_bursts(*reader, size, experts, kMiB).bytes_per_second() * 1e-9);
    }
    fmt::print("\n");
  }
}

int run(const std::string& path) {
  const auto reader = open(path, IoBackend::kAuto, 32);
  const Bytes size(std::filesystem::file_size(path));
  if (size < 16 * kMiB) throw_error(ErrorCode::kUsage, "{}: give a file of 16 MiB or more", path);
  fmt::print("{}: {} MiB, {}\n", path, size / kMiB, reader->description());
  steady(path, size);
  bursts(path, size);
  return 0;
}

}  // namespace
}  // namespace hearth::io

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: bench_disk FILE\n");
    return 2;
  }
  try {
    return hearth::io::run(argv[1]);
  } catch (const hearth::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
