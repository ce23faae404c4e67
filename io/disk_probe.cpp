#include "io/disk_probe.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/random.h"
#include "io/arena.h"

namespace hearth::io {
namespace {

// Where the probe reads: aligned places, uniformly over the file.
class RandomPlaces {
 public:
  RandomPlaces(const DiskProbeOptions& options, std::uint64_t alignment)
      : file_size_(options.file_size.count),
        read_size_(round_up(std::min(options.read_size.count, file_size_), alignment)),
        alignment_(alignment),
        places_((file_size_ - std::min(read_size_, file_size_)) / alignment + 1),
        random_(options.seed) {}

  std::uint64_t read_size() const { return read_size_; }
  void choose(ReadRequest& request) {
    request.offset = random_.below(places_) * alignment_;
    request.needed = std::min(read_size_, file_size_ - request.offset);
  }

 private:
  std::uint64_t file_size_;
  std::uint64_t read_size_;
  std::uint64_t alignment_;
  std::uint64_t places_;
  Random random_;
};

// The memory that reads go to, cut into equal parts, one for each read of the queue. A read takes
// the next place of its own part, so that no two that are on their way share bytes.
class Destinations {
 public:
  Destinations(std::span<std::byte> memory, std::uint64_t read_size, std::uint32_t parts)
      : memory_(memory),
        read_size_(read_size),
        places_(memory.size() / read_size / parts),
        next_(parts, 0) {
    CHECK_GT(places_, 0u);
  }

  std::span<std::byte> next(std::uint64_t part) {
    const std::uint64_t place = part * places_ + next_[part]++ % places_;
    return memory_.subspan(place * read_size_, read_size_);
  }

 private:
  std::span<std::byte> memory_;
  std::uint64_t read_size_;
  std::uint64_t places_;
  std::vector<std::uint64_t> next_;
};

Nanoseconds median_of(std::vector<Nanoseconds>& times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace

DiskRate probe_disk(AsyncReader& reader, const DiskProbeOptions& options, const Clock& clock) {
  CHECK_EQ(reader.outstanding(), 0u);
  CHECK_GT(options.queue_depth, 0u);
  CHECK_GT(options.read_size.count, 0u);
  if (options.file_size.count == 0)
    throw_error(ErrorCode::kIo, "an empty file cannot measure a disk; give a model file");

  RandomPlaces places(options, reader.alignment());
  Arena own;
  if (options.memory.empty()) own = Arena(Bytes(places.read_size() * options.queue_depth));
  Destinations destinations(options.memory.empty() ? own.bytes() : options.memory,
                            places.read_size(), options.queue_depth);
  std::vector<ReadRequest> requests(options.queue_depth);
  std::vector<ReadCompletion> finished(options.queue_depth);
  std::vector<Nanoseconds> begun(options.queue_depth);
  std::vector<Nanoseconds> times;
  std::uint64_t submitted = 0;
  const auto choose = [&](std::uint64_t tag) {
    ReadRequest& request = requests[tag];
    request.destination = destinations.next(tag);
    places.choose(request);
    submitted += request.needed;
  };
  for (std::uint32_t i = 0; i < options.queue_depth; ++i) {
    requests[i].file = options.file;
    requests[i].tag = i;
    choose(i);
  }

  // Whatever is thrown, no read outlives the memory above.
  const struct EndReads {
    AsyncReader& reader;
    ~EndReads() { reader.end_reads(); }
  } end_reads{reader};
  const Bytes before = reader.bytes_read();
  const Nanoseconds start = clock.now();
  std::ranges::fill(begun, start);
  reader.submit(requests);
  int error = 0;
  while (const std::size_t count = reader.reap(finished, AsyncReader::Wait::kOne)) {
    for (const ReadCompletion& completion : std::span(finished).first(count)) {
      const Nanoseconds now = clock.now();
      times.push_back(now - begun[completion.tag]);
      if (completion.error != 0) error = completion.error;
      if (error != 0 || submitted >= options.max_bytes.count || now - start >= options.max_time)
        continue;
      choose(completion.tag);
      begun[completion.tag] = now;
      reader.submit({&requests[completion.tag], 1});
    }
  }
  if (error != 0)
    throw_error(ErrorCode::kIo, "the disk cannot be measured: reading failed: {}; check the file",
                error > 0 ? std::strerror(error) : "the file ended early");
  return {.bytes = reader.bytes_read() - before,
          .time = clock.now() - start,
          .median = median_of(times)};
}

}  // namespace hearth::io
