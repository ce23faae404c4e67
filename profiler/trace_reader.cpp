#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/checked_math.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/function_ref.h"
#include "profiler/trace_file.h"
#include "profiler/trace_format.h"
#include "profiler/trace_header_toml.h"

namespace hearth::profiler {
namespace {

constexpr std::uint64_t kMostStepBytes = std::uint64_t{1} << 48;  // more than any disk has

// Fills what it can of a span and returns how much; less than all at the end only.
using ReadBytes = FunctionRef<std::size_t(std::span<std::byte>)>;

class TraceParser {
 public:
  TraceParser(const std::string& name, ReadBytes read) : name_(name), read_(read) {}

  TraceReadResult parse();

 private:
  [[noreturn]] void damaged(std::uint64_t offset, std::string_view what) const {
    throw_error(ErrorCode::kBadFile, "{}: byte {}: {}; the trace is damaged, record it again",
                printable(name_, 400), offset, what);
  }
  std::span<const std::byte> take_bytes(std::uint64_t bytes);
  template <typename T>
  bool take(T& value);
  TraceHeader take_header();
  bool take_step(RoutingTrace& trace);
  void add_step(RoutingTrace& trace, const TraceStepStart& start,
                std::span<const std::byte> payload, std::uint64_t offset);

  const std::string& name_;
  ReadBytes read_;
  std::uint64_t offset_ = 0;  // of what is read next
  std::vector<std::byte> buffer_;
  std::vector<std::uint16_t> experts_;
  std::vector<float> weights_;
};

// The next bytes, or fewer at the end. Memory grows with what is really there, whatever a count
// says.
std::span<const std::byte> TraceParser::take_bytes(std::uint64_t bytes) {
  constexpr std::uint64_t kPiece = 1 << 20;
  std::uint64_t filled = 0;
  while (filled < bytes) {
    const std::uint64_t piece = std::min(kPiece, bytes - filled);
    if (buffer_.size() < filled + piece) buffer_.resize(filled + piece);
    const std::size_t got = read_(std::span(buffer_).subspan(filled, piece));
    filled += got;
    if (got < piece) break;
  }
  offset_ += filled;
  return std::span(buffer_).first(filled);
}

template <typename T>
bool TraceParser::take(T& value) {
  const std::span<const std::byte> bytes = take_bytes(sizeof value);
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

TraceHeader TraceParser::take_header() {
  TraceFileStart start;
  const bool whole = take(start);
  if (!whole || std::string_view(start.magic.data(), start.magic.size()) != kTraceMagic)
    throw_error(ErrorCode::kBadFile, "{}: is not a routing trace; hearth run --trace records one",
                printable(name_, 400));
  if (start.version > kTraceVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: is a trace of version {}, this program reads up to {}; use a newer one",
                printable(name_, 400), start.version, kTraceVersion);
  if (start.version == 0) damaged(8, "there is no version 0");
  if (start.text_bytes > kMostTraceText.count) damaged(12, "the header is too long");
  const std::span<const std::byte> text = take_bytes(start.text_bytes);
  if (text.size() < start.text_bytes) damaged(offset_, "the file ends within its header");
  if (trace_checksum(text) != start.text_checksum)
    damaged(sizeof start, "the checksum of the header is wrong");
  return parse_trace_header({reinterpret_cast<const char*>(text.data()), text.size()}, name_);
}

void TraceParser::add_step(RoutingTrace& trace, const TraceStepStart& start,
                           std::span<const std::byte> payload, std::uint64_t offset) {
  const TraceHeader& header = trace.header();
  const std::size_t pairs = std::size_t{start.rows} * header.experts_per_row;
  experts_.resize(pairs);
  weights_.resize(header.has_weights ? pairs : 0);
  trace.begin_step({.position = start.position, .rows = start.rows});
  std::size_t at = 0;
  const auto next = [&]<typename T>(T value) {
    std::memcpy(&value, payload.data() + at, sizeof value);
    at += sizeof value;
    return value;
  };
  for (const TraceLayer& layer : header.layers) {
    const bool narrow = bytes_of_id(layer) == 1;
    for (std::uint16_t& expert : experts_) {
      expert = narrow ? next(std::uint8_t{}) : next(std::uint16_t{});
      if (expert >= layer.experts)
        damaged(offset + at - bytes_of_id(layer),
                fmt::format("expert {} of the {} of layer {}", expert, layer.experts, layer.layer));
    }
    for (float& weight : weights_) weight = from_bf16(next(std::uint16_t{}));
    trace.add({.layer = layer.layer,
               .rows = start.rows,
               .experts_per_row = header.experts_per_row,
               .experts = experts_,
               .weights = weights_,
               .position = start.position});
  }
}

// False at the end of the file, also within a step.
bool TraceParser::take_step(RoutingTrace& trace) {
  const std::uint64_t begin = offset_;
  TraceStepStart start;
  if (!take(start)) return false;
  if (start.mark != kStepMark || start.checksum != start.expected_checksum())
    damaged(begin, "no step begins here");
  if (start.rows == 0) damaged(begin, "a step without rows");
  const auto bytes = checked_multiply(start.rows, bytes_of_row(trace.header()));
  if (!bytes || *bytes > kMostStepBytes) damaged(begin, "a step without end");
  std::uint32_t checksum = 0;
  const std::span<const std::byte> rest = take_bytes(*bytes + sizeof checksum);
  if (rest.size() < *bytes + sizeof checksum) return false;
  const std::span<const std::byte> payload = rest.first(*bytes);
  std::memcpy(&checksum, rest.data() + *bytes, sizeof checksum);
  if (checksum != trace_checksum(payload)) damaged(begin, "the checksum of this step is wrong");
  add_step(trace, start, payload, begin + sizeof start);
  return true;
}

TraceReadResult TraceParser::parse() {
  RoutingTrace trace(take_header());
  std::uint64_t complete = offset_;
  while (take_step(trace)) complete = offset_;
  return {.trace = std::move(trace), .bytes = offset_, .incomplete_bytes = offset_ - complete};
}

class File {
 public:
  explicit File(const std::string& path)
      : path_(printable(path, 400)), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ >= 0) return;
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    throw_error(absent ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be opened: {}; {}",
                path_, std::strerror(errno), advice_on_opening(errno));
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::size_t read(std::span<std::byte> out) const {
    std::size_t filled = 0;
    while (filled < out.size()) {
      const ssize_t got = ::read(fd_, out.data() + filled, out.size() - filled);
      if (got == 0) break;
      if (got < 0 && errno != EINTR)
        throw_error(ErrorCode::kIo, "{}: cannot be read: {}; check the disk", path_,
                    std::strerror(errno));
      filled += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    return filled;
  }

 private:
  std::string path_;
  int fd_;
};

}  // namespace

TraceReadResult read_trace(const std::string& path) {
  const File file(path);
  const auto read = [&](std::span<std::byte> out) { return file.read(out); };
  return TraceParser(path, read).parse();
}

TraceReadResult parse_trace(std::span<const std::byte> bytes, const std::string& name) {
  const auto read = [&](std::span<std::byte> out) {
    const std::size_t count = std::min(out.size(), bytes.size());
    std::copy_n(bytes.begin(), count, out.begin());
    bytes = bytes.subspan(count);
    return count;
  };
  return TraceParser(name, read).parse();
}

}  // namespace hearth::profiler
