// Routing traces as files.
//
//   header   8 bytes  "HEARTHRT"
//            u32      version (1)
//            u32      bytes of the text that follows
//            u32      checksum of the text
//            text     TOML: [model] identity; [trace] workload, origin, experts_per_row, weights
//                     ("bf16" or "none"), layers and experts as arrays
//   steps    u32      "STEP"
//            u32      rows, at least 1
//            u32      position of the first row
//            u32      checksum of these 12 bytes, so that a damaged number of rows is not taken for
//                     a long step that is still being written
//            payload  for each layer of the header: expert ids [rows][experts_per_row], one byte
//                     each where the layer has at most 256 experts, else two; then the weights,
//                     likewise, bf16
//            u32      checksum of the payload
//
// Everything is little-endian; a checksum is the low half of XXH3 (64 bits). A file may be read
// while it is written: a step that is not complete at the end of the file is not there yet. Token
// ids and text are never recorded. A token of 48 layers and 8 experts takes 1172 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "profiler/routing_trace.h"

namespace hearth::profiler {

// Appends steps to a new file. Buffered: add() copies, and a full buffer is written between steps.
// Nothing allocates after construction but for steps of more rows than `most_rows`. A write that
// fails ends the recording without disturbing what is recorded; finish() tells.
class TraceWriter {
 public:
  // Replaces an existing trace; throws Error(kIo) where the file cannot be created, and for a file
  // that is no trace, which is more likely a slip than meant.
  TraceWriter(const std::string& path, const TraceHeader& header, std::uint32_t most_rows);
  ~TraceWriter();  // as finish(), but errors are lost
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // Every decision in the order it is made. The first layer begins a step, the last one completes
  // it; a step that was begun but not completed (an error in between) is dropped.
  void add(const Routing& routing);
  void flush();                 // all complete steps to the file
  void finish();                // flush and close; throws Error(kIo) if not all steps were written
  std::uint64_t rows() const;   // of complete steps
  std::uint64_t bytes() const;  // of the file, with what is still buffered

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct TraceReadResult {
  RoutingTrace trace;
  std::uint64_t bytes = 0;             // read
  std::uint64_t incomplete_bytes = 0;  // of them, at the end: a step still being written or cut off
};

// Throws Error(kNotFound / kIo / kBadFile / kUnsupported): not a trace, a newer version, damage in
// the middle, ids out of range.
TraceReadResult read_trace(const std::string& path);
// From memory, for fuzzing.
TraceReadResult parse_trace(std::span<const std::byte> bytes, const std::string& name);

}  // namespace hearth::profiler
