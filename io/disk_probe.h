// Measures what a disk gives for random reads of one size: the peak that reports compare with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/units.h"
#include "io/async_reader.h"

namespace hearth::io {

struct DiskProbeOptions {
  std::uint32_t file = 0;          // index into the reader's paths
  Bytes file_size;                 // of that file; a short file is read again and again
  Bytes read_size = kMiB;          // rounded to the reader's alignment and to the file
  std::uint32_t queue_depth = 32;  // reads outstanding; the reader's own depth limits it, too
  Bytes max_bytes = 512 * kMiB;    // whichever comes first ends the measurement
  Nanoseconds max_time = std::chrono::seconds(1);
  std::uint64_t seed = 1;
  // Where the reads go, in turns over all of it, aligned as the reader wants it; at least
  // queue_depth reads. Reads into few bytes are up to 45 % faster, because those stay in the cache:
  // to measure what decoding gets, give far more. Empty: just enough memory of its own.
  std::span<std::byte> memory = {};
};

struct DiskRate {
  Bytes bytes;
  Nanoseconds time{};
  Nanoseconds median{};  // of one read, from being submitted to being there
  double bytes_per_second() const { return static_cast<double>(bytes.count) / seconds(time); }
};

// The reader must have nothing outstanding. Where it goes through the page cache, the figure is
// that of the cache for everything that was read before: ask reader.direct(). Throws Error(kIo)
// when a read fails or the file is empty.
DiskRate probe_disk(AsyncReader& reader, const DiskProbeOptions& options,
                    const Clock& clock = steady_clock());

}  // namespace hearth::io
