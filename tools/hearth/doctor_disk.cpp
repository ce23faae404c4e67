#include "tools/hearth/doctor_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "io/async_reader.h"
#include "io/direct_file.h"
#include "io/disk_probe.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/system_facts.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kLeastFile = 64 * kMiB;  // fewer bytes are in the cache of the disk
constexpr Bytes kSpaceToLeave = 256 * kMiB;

[[noreturn]] void fail(const std::string& path, std::string_view what, int error) {
  throw_error(ErrorCode::kIo, "{}: {}: {}; give --disk a model file or another folder",
              printable(path), what, std::strerror(error));
}

// A file of random bytes without a name, so that a killed process leaves nothing. Where the file
// system has no such files, one with a name until that is dropped.
class TestFile {
 public:
  TestFile(const std::string& folder, Bytes size)
      : folder_(folder), descriptor_(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
    path_ = fmt::format("/proc/self/fd/{}", descriptor_.get());
    if (!descriptor_.valid() || access(path_.c_str(), R_OK) != 0) make_named();
    if (const int error = posix_fallocate(descriptor_.get(), 0, static_cast<off_t>(size.count)))
      fail_and_remove(error);
  }
  ~TestFile() { drop_name(); }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;

  void fill(Bytes size, const std::function<void()>& between) {
    Random random(1);
    std::vector<std::uint64_t> piece((4 << 20) / sizeof(std::uint64_t));
    for (std::uint64_t& word : piece) word = random.next();
    const auto bytes = std::as_bytes(std::span(piece));
    for (std::uint64_t at = 0; at < size.count;) {
      between();
      piece[0] = at;  // so that no two pieces are the same
      const std::size_t count = std::min<std::uint64_t>(bytes.size(), size.count - at);
      const ssize_t written =
          pwrite(descriptor_.get(), bytes.data(), count, static_cast<off_t>(at));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail_and_remove(written < 0 ? errno : ENOSPC);
      at += static_cast<std::uint64_t>(written);
    }
    if (fsync(descriptor_.get()) != 0) fail_and_remove(errno);  // only clean pages leave the cache
  }

  const std::string& path() const { return path_; }
  void drop_name() {
    if (named_) unlink(path_.c_str());
    named_ = false;
  }

 private:
  void make_named() {
    path_ = (fs::path(folder_) / "hearth-doctor-XXXXXX").string();
    descriptor_ = io::FileDescriptor(mkostemp(path_.data(), O_CLOEXEC));
    if (!descriptor_.valid()) fail(folder_, "a test file cannot be made", errno);
    named_ = true;
  }

  [[noreturn]] void fail_and_remove(int error) {
    drop_name();  // a constructor that throws has no destructor
    fail(folder_, "the test file cannot be written", error);
  }

  const std::string folder_;
  std::string path_;  // to open it by
  io::FileDescriptor descriptor_;
  bool named_ = false;
};

void require_space(const std::string& folder, Bytes size) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) fail(folder, "its free space is unknown", error.value());
  if (space.available < (size + kSpaceToLeave).count)
    throw_error(ErrorCode::kBadInput,
                "{}: {} free, a test file of {} needs {}; give --disk a model file or another "
                "folder",
                printable(folder), format_size(Bytes(space.available)), format_size(size),
                format_size(size + kSpaceToLeave));
}

void require_size(const std::string& path, Bytes size) {
  if (size < kLeastFile)
    throw_error(
        ErrorCode::kBadInput,
        "{}: {} are too few to measure a disk; give --disk a file of at least {} or a folder",
        printable(path), format_size(size), format_size(kLeastFile));
}

// The file that is read: by the reader, and with a descriptor of its own to ask it out of the
// cache.
struct Target {
  std::unique_ptr<io::AsyncReader> reader;
  io::FileDescriptor descriptor;
  Bytes size;
};

Target open_target(const std::string& path) {
  Target target{.reader = io::AsyncReader::open({path}, {}),
                .descriptor = io::FileDescriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)),
                .size = {}};
  struct stat status{};
  if (!target.descriptor.valid() || fstat(target.descriptor.get(), &status) != 0)
    fail(path, "cannot be looked at", errno);
  target.size = Bytes(static_cast<std::uint64_t>(status.st_size));
  return target;
}

// Without O_DIRECT what was read once would come from memory the next time: the file is asked out
// of the page cache before each measurement, which then reads no more than a quarter of it.
Bytes prepare_reads(const Target& target) {
  constexpr Bytes kWithoutLimit(1ull << 40);
  if (target.reader->direct()) return kWithoutLimit;
  posix_fadvise(target.descriptor.get(), 0, 0, POSIX_FADV_DONTNEED);
  return Bytes(target.size.count / 4);
}

std::vector<profiler::DiskRate> measure_rates(const DiskProbe& probe, Target& target) {
  std::vector<profiler::DiskRate> rates;
  for (const Bytes size : probe.sizes) {
    for (const std::uint32_t depth : probe.depths) {
      if (size * depth > Bytes(probe.memory.size()) || size > target.size) continue;
      probe.progress(fmt::format("disk, reads of {}, {} at once", format_size(size), depth));
      const io::DiskRate rate = io::probe_disk(*target.reader, {.file_size = target.size,
                                                                .read_size = size,
                                                                .queue_depth = depth,
                                                                .max_bytes = prepare_reads(target),
                                                                .max_time = probe.time,
                                                                .seed = size.count + depth,
                                                                .memory = probe.memory});
      rates.push_back(
          {.read = size, .depth = depth, .rate = rate.bytes_per_second(), .latency = rate.median});
    }
  }
  return rates;
}

DiskMeasurement measure_target(const DiskProbe& probe, Target target, const std::string& name) {
  target.reader->register_memory(probe.memory);
  const std::string description = target.reader->description();
  return {.disk = {.name = name,
                   .io_uring = description.starts_with("io_uring"),
                   .direct = target.reader->direct(),
                   .random_reads = measure_rates(probe, target)},
          .reader = description};
}

}  // namespace

void check_disk(const std::string& path, Bytes test_file) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail(path, "cannot be looked at", errno);
    throw_error(ErrorCode::kNotFound,
                "{}: no such file or folder; give --disk a model file or a "
                "folder",
                printable(path));
  }
  const std::string name = storage_name(path);
  if (name == "tmpfs" || name == "ramfs")
    throw_error(ErrorCode::kBadInput,
                "{}: lies in memory ({}), not on a disk; give --disk a path on the disk of the "
                "models",
                printable(path), name);
  if (S_ISDIR(status.st_mode)) {
    if (access(path.c_str(), W_OK | X_OK) != 0) fail(path, "a test file cannot be made", errno);
    return require_space(path, test_file);
  }
  if (access(path.c_str(), R_OK) != 0) fail(path, "cannot be read", errno);
  require_size(path, Bytes(static_cast<std::uint64_t>(status.st_size)));
}

DiskMeasurement measure_disk(const DiskProbe& probe) {
  check_disk(probe.path, probe.test_file);
  const std::string name = storage_name(probe.path);
  if (!fs::is_directory(probe.path)) return measure_target(probe, open_target(probe.path), name);

  probe.note(fmt::format("writing a test file of {} to {}; it is removed again",
                         format_size(probe.test_file), printable(probe.path)));
  TestFile file(probe.path, probe.test_file);
  file.fill(probe.test_file, [&] { probe.progress("disk, writing a test file"); });
  Target target = open_target(file.path());
  file.drop_name();
  return measure_target(probe, std::move(target), name);
}

}  // namespace hearth::tools
