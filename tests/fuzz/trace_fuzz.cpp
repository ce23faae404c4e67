// Any bytes are either a trace that keeps the promises of profiler/routing_trace.h or a
// hearth::Error.
//
// Checksums would turn nearly every input away at once. So each is tried as it is, and with its
// checksums put right wherever there is room for one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/error.h"
#include "profiler/trace_file.h"
#include "profiler/trace_format.h"
#include "profiler/trace_header_toml.h"

namespace {

using namespace hearth;
using namespace hearth::profiler;

void require(bool holds) {
  if (!holds) std::abort();
}

std::optional<TraceReadResult> parse(std::span<const std::byte> bytes) {
  try {
    return parse_trace(bytes, "input");
  } catch (const Error&) {
    return std::nullopt;
  }
}

void check_promises(const TraceReadResult& read, std::size_t size) {
  const RoutingTrace& trace = read.trace;
  require(read.bytes <= size && read.incomplete_bytes <= read.bytes);
  require(!trace.header().flaw());
  std::uint64_t rows = 0;
  for (std::size_t s = 0; s < trace.steps(); ++s) {
    rows += trace.step(s).rows;
    for (std::size_t n = 0; n < trace.header().layers.size(); ++n) {
      const Routing routing = trace.decision(s, n);
      require(routing.weights.size() == routing.experts.size());
      for (const std::uint16_t expert : routing.experts)
        require(expert < trace.header().layers[n].experts);
    }
  }
  require(rows == trace.rows());
}

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void store(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// The header's checksum, and those of the steps as far as they can be followed.
void put_checksums_right(std::span<std::byte> bytes) {
  if (bytes.size() < sizeof(TraceFileStart)) return;
  const auto start = load<TraceFileStart>(bytes, 0);
  std::size_t at = sizeof start;
  if (start.text_bytes > bytes.size() - at) return;
  const auto text = bytes.subspan(at, start.text_bytes);
  store(bytes, offsetof(TraceFileStart, text_checksum), trace_checksum(text));
  at += start.text_bytes;
  std::uint64_t row = 0;
  try {
    row = bytes_of_row(
        parse_trace_header({reinterpret_cast<const char*>(text.data()), text.size()}, "input"));
  } catch (const Error&) {
    return;
  }
  while (bytes.size() - at >= kStepFrame) {
    const auto step = load<TraceStepStart>(bytes, at);
    store(bytes, at + offsetof(TraceStepStart, checksum), step.expected_checksum());
    at += sizeof step;
    const std::size_t room = bytes.size() - at - sizeof(std::uint32_t);
    if (step.rows > room / row) return;
    store(bytes, at + step.rows * row, trace_checksum(bytes.subspan(at, step.rows * row)));
    at += step.rows * row + sizeof(std::uint32_t);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (const auto read = parse(input)) check_promises(*read, size);
  std::vector<std::byte> right(input.begin(), input.end());
  put_checksums_right(right);
  if (const auto read = parse(right)) check_promises(*read, size);
  return 0;
}
