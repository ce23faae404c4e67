// Any bytes are either a GGUF file that keeps the promises of io/gguf.h or a hearth::Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/gguf_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  try {
    io::walk(
        io::GgufFile::parse(std::as_bytes(std::span(data, size)), "input", io::test_block_shape));
  } catch (const Error&) {
  }
  return 0;
}
