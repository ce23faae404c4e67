// Writes a GGUF v3 file in bounded memory: declare everything, then append tensor data in order.
//
// Under its own name a file is complete (base/file_replacement.h). Throws Error(kIo) with the
// system's reason when the disk is full or fails.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/gguf.h"

namespace hearth::io {

class GgufWriter {
 public:
  explicit GgufWriter(const std::string& path);  // throws Error(kIo) if it cannot be created
  ~GgufWriter();                                 // an unfinished file is removed
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  // Before the first append. Integer values are written in the narrowest type of 32 or 64 bits
  // that holds them, reals as f32.
  void set(const std::string& key, const GgufValue& value);
  void declare(const std::string& name, std::span<const std::uint64_t> shape, std::uint32_t type_id,
               Bytes size);

  // Appends the next bytes of the tensor that is being written; tensors follow one another in the
  // order of their declaration, padded to general.alignment (32 if it is not set).
  void append(std::span<const std::byte> data);

  // Checks that every declared byte was written, flushes and closes.
  void finish();
  // Ends the file where the data would begin: a header to plan by. Nothing was appended.
  void finish_header();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::io
