#include "io/async_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "io/reader_backends.h"

namespace hearth::io {
namespace {

// Requests are cut into pieces of this size. On the virtio disk this was measured on, bursts of 3
// to 12 MiB ran at the same rate with pieces from 128 KiB to 4 MiB, within a large
// noise (one expert at a time swung between 1.4 and 2.9 GB/s), so this is a choice by reasoning:
// smaller pieces cost processor time, larger ones leave a disk with a deep queue without work when
// few requests are there.
constexpr std::uint64_t kPieceBytes = 512 << 10;

}  // namespace

std::optional<IoBackend> parse_io_backend(std::string_view name) {
  if (name == "auto") return IoBackend::kAuto;
  if (name == "uring") return IoBackend::kUring;
  if (name == "pread") return IoBackend::kPread;
  return std::nullopt;
}

namespace {

// The environment decides where the caller does not, so that a whole run of the tests can be made
// with either back end.
IoBackend backend_to_use(IoBackend wanted) {
  const char* const name = std::getenv("HEARTH_IO");
  if (wanted != IoBackend::kAuto || name == nullptr) return wanted;
  const auto named = parse_io_backend(name);
  if (!named)
    throw_error(ErrorCode::kUsage, "HEARTH_IO={}: unknown; use auto, uring or pread",
                printable(name));
  return *named;
}

}  // namespace

std::unique_ptr<AsyncReader> AsyncReader::open(const std::vector<std::string>& paths,
                                               const ReaderOptions& options) {
  static KernelCalls calls;
  ReaderOptions effective = options;
  effective.backend = backend_to_use(options.backend);
  return open_reader(paths, effective, calls);
}

std::unique_ptr<AsyncReader> open_reader(const std::vector<std::string>& paths,
                                         const ReaderOptions& options, KernelCalls& calls) {
  CHECK(!paths.empty());
  CHECK_GT(options.queue_depth, 0u);
  CHECK_GT(options.max_queued, 0u);
  std::vector<DirectFile> files;
  std::uint64_t alignment = 1;
  for (const std::string& path : paths) {
    files.emplace_back(path, options.direct, calls);
    alignment = std::max(alignment, files.back().alignment());
  }
  const ReaderParts parts{
      .files = files,
      .limits = {.requests = options.max_queued,
                 .pieces = options.queue_depth,
                 .piece_bytes = static_cast<std::uint32_t>(std::max(kPieceBytes, alignment)),
                 .alignment = alignment},
      .calls = calls};

  int refusal = 0;
  if (options.backend != IoBackend::kPread) {
    if (auto reader = open_uring_reader(parts, refusal)) return reader;
    if (options.backend == IoBackend::kUring)
      throw_error(ErrorCode::kIo, "the system refuses io_uring: {}; use --io pread",
                  std::strerror(refusal));
  }
  return open_pread_reader(parts, refusal);
}

bool all_direct(const std::vector<DirectFile>& files) {
  return std::all_of(files.begin(), files.end(),
                     [](const DirectFile& file) { return file.direct(); });
}

std::string describe_files(const std::vector<DirectFile>& files, std::uint64_t alignment) {
  if (all_direct(files)) return fmt::format("O_DIRECT, {}-byte alignment", alignment);
  const auto refused = std::find_if(files.begin(), files.end(),
                                    [](const DirectFile& file) { return file.refusal() != 0; });
  if (refused == files.end()) return "page cache";
  return fmt::format("page cache (O_DIRECT refused: {})", std::strerror(refused->refusal()));
}

std::string describe_trouble(const ReadQueue& queue) {
  std::string text;
  if (queue.repeats() > 0) text += fmt::format(", {} attempts repeated", queue.repeats());
  if (queue.page_cache_pieces() > 0)
    text += fmt::format(", {} pieces finished through the page cache", queue.page_cache_pieces());
  return text;
}

}  // namespace hearth::io
