// Writes a first corpus for the fuzz targets: make_seeds DIRECTORY
#include <filesystem>
#include <fstream>
#include <string>

#include "profiler/trace_file.h"
#include "tests/io/support/gguf_image.h"
#include "tests/profiler/support/random_trace.h"

namespace {

using hearth::io::GgufImage;
using hearth::io::GgufType;

void write(const std::filesystem::path& path, const GgufImage& image) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(image.bytes().data()),
            static_cast<std::streamsize>(image.bytes().size()));
}

void write_gguf_seeds(const std::filesystem::path& directory) {
  write(directory / "complete", hearth::io::complete_image());
  write(directory / "empty", GgufImage().header(0, 0));
  write(directory / "version2",
        GgufImage().header(1, 0, 2).tensor("t", {32}, hearth::io::kBlock32Type, 0).pad().data(34));
  write(directory / "unknown_type",
        GgufImage().header(1, 0).tensor("t", {1, 2, 3, 4}, 99, 32).pad().data(33));
  write(directory / "strings", GgufImage()
                                   .header(0, 1)
                                   .array("tokens", GgufType::kString, 3)
                                   .text("a")
                                   .text("")
                                   .text("\xff\xfe"));
  write(directory / "split",
        GgufImage().header(0, 1).key("split.count", GgufType::kUint16).number(std::uint16_t{2}));
}

// Of one layer and several, with ids of one byte and of two, with weights and without.
void write_trace_seeds(const std::filesystem::path& directory) {
  namespace profiler = hearth::profiler;
  std::filesystem::create_directories(directory);
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    hearth::Random random(seed);
    const profiler::TraceHeader header = profiler::testing::random_header(random);
    const profiler::RoutingTrace trace = profiler::testing::random_trace(random, header, seed % 4);
    profiler::TraceWriter writer((directory / std::to_string(seed)).string(), header, 4);
    for (std::size_t s = 0; s < trace.steps(); ++s)
      for (std::size_t n = 0; n < header.layers.size(); ++n) writer.add(trace.decision(s, n));
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  write_gguf_seeds(std::filesystem::path(arguments[1]) / "gguf");
  write_trace_seeds(std::filesystem::path(arguments[1]) / "trace");
  return 0;
}
