#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "profiler/trace_file.h"
#include "profiler/trace_format.h"
#include "profiler/trace_header_toml.h"

namespace hearth::profiler {
namespace {

constexpr std::size_t kBuffer = 1 << 20;  // about 900 tokens of 48 layers and 8 experts

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw_error(ErrorCode::kIo, "{}: the trace cannot be {}: {}; check the path and the disk",
              printable(path, 400), what, std::strerror(error));
}

// A file that is there already must be a trace, or empty, or no file at all but a device; and
// nobody else's, where the file system has locks.
void check_replaceable(const std::string& path, int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw_error(ErrorCode::kIo, "{}: is being recorded by another run; name another file",
                printable(path, 400));
  struct stat status{};
  if (fstat(fd, &status) != 0) fail(path, "created", errno);
  if (!S_ISREG(status.st_mode) || status.st_size == 0) return;
  char start[kTraceMagic.size()] = {};
  const ssize_t got = pread(fd, start, sizeof start, 0);
  if (got < 0) fail(path, "replaced", errno);
  if (std::string_view(start, static_cast<std::size_t>(got)) != kTraceMagic)
    throw_error(ErrorCode::kIo,
                "{}: is there and is not a routing trace; name another file, or remove it",
                printable(path, 400));
}

}  // namespace

struct TraceWriter::State {
  std::string path;
  TraceHeader header;
  std::uint64_t bytes_of_row = 0;
  int fd = -1;
  int error = 0;  // of the first write that failed; nothing is recorded from then on

  // The buffer holds complete steps, then the one that is being made.
  std::vector<std::byte> buffer;
  std::size_t complete = 0;    // bytes of complete steps
  std::size_t end = 0;         // of the step being made
  std::size_t next_layer = 0;  // of the header; 0: no step is being made
  TraceStepStart step;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  // written to the file

  ~State() {
    if (fd >= 0) close(fd);
  }

  template <typename T>
  void put(T value) {
    std::memcpy(buffer.data() + end, &value, sizeof value);
    end += sizeof value;
  }
  void write_complete();
  void begin_step(const Routing& routing);
  void put_decision(const Routing& routing);
  void end_step();
};

void TraceWriter::State::write_complete() {
  for (std::size_t done = 0; done < complete && error == 0;) {
    const ssize_t written = write(fd, buffer.data() + done, complete - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) error = errno;
    done += written < 0 ? 0 : static_cast<std::size_t>(written);
    bytes += written < 0 ? 0 : static_cast<std::uint64_t>(written);
  }
  std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(complete),
            buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
  end -= complete;
  complete = 0;
}

void TraceWriter::State::begin_step(const Routing& routing) {
  next_layer = 0;  // drops a step that was not completed
  end = complete;
  const std::size_t needed = routing.rows * bytes_of_row + kStepFrame;
  if (needed > buffer.size() - complete) write_complete();
  if (needed > buffer.size()) buffer.resize(needed);
  step = {.rows = routing.rows, .position = routing.position};
  step.checksum = step.expected_checksum();
  put(step);
}

void TraceWriter::State::put_decision(const Routing& routing) {
  const TraceLayer& layer = header.layers[next_layer];
  CHECK_EQ(routing.layer, layer.layer);
  CHECK_EQ(routing.rows, step.rows);
  CHECK_EQ(routing.experts_per_row, header.experts_per_row);
  CHECK_EQ(routing.experts.size(), std::size_t{routing.rows} * routing.experts_per_row);
  CHECK_LT(*std::max_element(routing.experts.begin(), routing.experts.end()), layer.experts);
  if (bytes_of_id(layer) == 1) {
    for (const std::uint16_t expert : routing.experts) put(static_cast<std::uint8_t>(expert));
  } else {
    for (const std::uint16_t expert : routing.experts) put(expert);
  }
  if (!header.has_weights) return;
  CHECK_EQ(routing.weights.size(), routing.experts.size());
  for (const float weight : routing.weights) put(to_bf16(weight));
}

void TraceWriter::State::end_step() {
  const std::size_t payload = complete + sizeof(TraceStepStart);
  put(trace_checksum(std::span(buffer).subspan(payload, end - payload)));
  complete = end;
  next_layer = 0;
  rows += step.rows;
}

TraceWriter::TraceWriter(const std::string& path, const TraceHeader& header,
                         std::uint32_t most_rows)
    : state_(std::make_unique<State>()) {
  CHECK_EQ(header.flaw().value_or(""), "");
  state_->path = path;
  state_->header = header;
  state_->bytes_of_row = bytes_of_row(header);
  const std::string text = to_toml(header);
  CHECK_LE(text.size(), kMostTraceText.count);
  state_->buffer.resize(std::max({kBuffer, most_rows * state_->bytes_of_row + kStepFrame,
                                  text.size() + sizeof(TraceFileStart)}));

  state_->fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (state_->fd < 0) fail(path, "created", errno);
  check_replaceable(path, state_->fd);
  if (ftruncate(state_->fd, 0) != 0 && errno != EINVAL) fail(path, "replaced", errno);

  TraceFileStart start{.text_bytes = static_cast<std::uint32_t>(text.size()),
                       .text_checksum = trace_checksum(std::as_bytes(std::span(text)))};
  std::copy(kTraceMagic.begin(), kTraceMagic.end(), start.magic.begin());
  state_->put(start);
  for (const char c : text) state_->put(c);
  state_->complete = state_->end;
  flush();
  if (state_->error != 0) fail(path, "written", state_->error);
}

TraceWriter::~TraceWriter() {
  if (state_->fd >= 0) flush();
}

void TraceWriter::add(const Routing& routing) {
  State& s = *state_;
  CHECK_GE(s.fd, 0);  // not finished
  if (s.error != 0) return;
  if (routing.layer == s.header.layers.front().layer) s.begin_step(routing);
  s.put_decision(routing);
  if (++s.next_layer == s.header.layers.size()) s.end_step();
}

void TraceWriter::flush() { state_->write_complete(); }

void TraceWriter::finish() {
  State& s = *state_;
  CHECK_GE(s.fd, 0);
  flush();
  const int close_error = close(s.fd) == 0 ? 0 : errno;
  s.fd = -1;
  if (s.error == 0) s.error = close_error;
  if (s.error != 0) fail(s.path, "written to its end", s.error);
}

std::uint64_t TraceWriter::rows() const { return state_->rows; }
std::uint64_t TraceWriter::bytes() const { return state_->bytes + state_->complete; }

}  // namespace hearth::profiler
