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

}  // namespace

DiskRate probe_disk(AsyncReader& reader, const DiskProbeOptions& options, const Clock& clock) {
  CHECK_EQ(reader.outstanding(), 0u);
  CHECK_GT(options.queue_depth, 0u);
  CHECK_GT(options.read_size.count, 0u);
  if (options.file_size.count == 0)
    throw_error(ErrorCode::kIo, "an empty file cannot measure a disk; give a model file");

  RandomPlaces places(options, reader.alignment());
  Arena memory(Bytes(places.read_size() * options.queue_depth));
  std::vector<ReadRequest> requests(options.queue_depth);
  std::vector<ReadCompletion> finished(options.queue_depth);
  std::uint64_t submitted = 0;
  for (std::uint32_t i = 0; i < options.queue_depth; ++i) {
    requests[i].file = options.file;
    requests[i].destination = memory.take(Bytes(places.read_size()), reader.alignment());
    requests[i].tag = i;
    places.choose(requests[i]);
    submitted += requests[i].needed;
  }

  const Bytes before = reader.bytes_read();
  const Nanoseconds start = clock.now();
  reader.submit(requests);
  int error = 0;
  while (const std::size_t count = reader.reap(finished, AsyncReader::Wait::kOne)) {
    for (const ReadCompletion& completion : std::span(finished).first(count)) {
      if (completion.error != 0) error = completion.error;
      if (error != 0 || submitted >= options.max_bytes.count ||
          clock.now() - start >= options.max_time)
        continue;
      ReadRequest& request = requests[completion.tag];
      places.choose(request);
      submitted += request.needed;
      reader.submit({&request, 1});
    }
  }
  if (error != 0)
    throw_error(ErrorCode::kIo, "the disk cannot be measured: reading failed: {}; check the file",
                error > 0 ? std::strerror(error) : "the file ended early");
  return {.bytes = reader.bytes_read() - before, .time = clock.now() - start};
}

}  // namespace hearth::io
