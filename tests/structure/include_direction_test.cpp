// The structure of the sources, read from the sources: who includes whom, where vendor headers
// are, and how files begin and how long they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hearth {
namespace {

namespace fs = std::filesystem;

struct Include {
  std::string header;
  bool quoted = false;
  std::size_t line = 0;
};

struct Source {
  std::string path;  // from the root of the project, with forward slashes
  std::vector<std::string> lines;
  std::vector<Include> includes;

  std::string folder() const { return path.substr(0, path.find('/')); }
  bool is_header() const {
    return path.ends_with(".h") || path.ends_with(".hpp") || path.ends_with(".cuh");
  }
};

// Which folders of the project a folder may include. tests, benchmarks and tools may include all.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base", {"base"}},
    {"io", {"base", "io"}},
    {"kernels", {"base", "kernels"}},
    {"profiler", {"base", "profiler"}},
    {"runtime", {"base", "io", "kernels", "profiler", "runtime"}},
    {"include", {}},  // what programs see; its own headers are <hearth/...>
    {"api", {"base", "io", "kernels", "profiler", "runtime", "api"}},
    {"examples", {"kernels"}},   // the specification alone
    {"adapters", {"adapters"}},  // programs like others: <hearth/...> and their host
    {"tools", {"base", "io", "kernels", "profiler", "runtime", "api", "tools"}},
    {"tests", {"base", "io", "kernels", "profiler", "runtime", "api", "tools", "tests"}},
    {"benchmarks", {"base", "io", "kernels", "profiler", "runtime", "tools", "benchmarks"}},
};

// Where a header of another project may be included, by the start of its name: path prefixes.
struct Vendor {
  std::string_view header;
  std::vector<std::string_view> places;
};
const std::vector<Vendor> kVendors = {
    {"hearth/", {"include/", "api/", "examples/", "adapters/", "tools/", "tests/"}},
    {"llama.h", {"adapters/llama.cpp/"}},
    {"ggml", {"adapters/llama.cpp/"}},
    {"liburing", {"io/"}},
    {"CLI/", {"tools/"}},
    {"nlohmann/", {"tools/", "tests/"}},
    {"pcre2", {"runtime/tokenizer/"}},
    {"editline/", {"tools/"}},
    {"toml++", {"profiler/"}},  // in *_toml files
    {"gtest/", {"tests/"}},
    {"gmock/", {"tests/"}},
    {"rapidcheck", {"tests/"}},
    {"benchmark/", {"benchmarks/"}},
    {"cuda", {"kernels/gpu/", "tests/cudart/"}},
    {"hip/", {"kernels/gpu/"}},
    {"boost/", {"kernels/gpu/emulation/"}},
};

constexpr std::size_t kMostLines = 600;
const std::set<std::string> kExtensions = {".h",  ".hpp", ".c",   ".cpp",
                                           ".cu", ".cuh", ".def", ".inc"};

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// `#include "x"` or `#include <x>`; an empty header for any other line.
Include parse_include(std::string_view line) {
  const auto skip_blanks = [&] {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  };
  skip_blanks();
  if (!line.starts_with('#')) return {};
  line.remove_prefix(1);
  skip_blanks();
  if (!line.starts_with("include")) return {};
  line.remove_prefix(7);
  skip_blanks();
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return {};
  const bool quoted = line[0] == '"';
  const std::size_t end = line.find(quoted ? '"' : '>', 1);
  return {std::string(line.substr(1, end - 1)), quoted, 0};
}

Source read_source(const fs::path& root, const fs::path& path) {
  Source source{path.lexically_relative(root).generic_string(), read_lines(path), {}};
  for (std::size_t i = 0; i < source.lines.size(); ++i) {
    Include include = parse_include(source.lines[i]);
    include.line = i + 1;
    if (!include.header.empty()) source.includes.push_back(include);
  }
  return source;
}

const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    const fs::path root = HEARTH_SOURCE_DIR;
    std::vector<Source> found;
    for (const auto& [folder, may_include] : kMayInclude) {
      if (!fs::exists(root / folder)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
        const std::string extension = entry.path().extension().string();
        if (kExtensions.count(extension) != 0) found.push_back(read_source(root, entry.path()));
      }
    }
    return found;
  }();
  return all;
}

std::string at(const Source& source, const Include& include) {
  return source.path + ":" + std::to_string(include.line) + ": " + include.header;
}

// The source folder a header lies in, "" if it is no header of this project.
std::string folder_of(const std::string& header) {
  const std::string folder = header.substr(0, header.find('/'));
  return kMayInclude.count(folder) != 0 && folder != header ? folder : "";
}

TEST(Structure, TheSourcesAreFound) {
  // A wrong root would make every test below pass.
  std::set<std::string> folders;
  for (const Source& source : sources()) folders.insert(source.folder());
  for (const char* folder : {"base", "io", "kernels", "profiler", "runtime", "tools", "tests"})
    EXPECT_EQ(folders.count(folder), 1u) << folder;
  EXPECT_GT(sources().size(), 30u);
}

TEST(Structure, AnIncludeIsParsed) {
  EXPECT_EQ(parse_include("#include \"io/gguf.h\"").header, "io/gguf.h");
  EXPECT_EQ(parse_include("  #  include <CLI/CLI.hpp>  // flags").header, "CLI/CLI.hpp");
  EXPECT_EQ(parse_include("// #include <x>").header, "");
  EXPECT_EQ(parse_include("#include MACRO").header, "");
  EXPECT_EQ(parse_include("").header, "");
}

TEST(Structure, IncludesPointDownwards) {
  for (const Source& source : sources())
    for (const Include& include : source.includes) {
      const std::string folder = folder_of(include.header);
      if (folder.empty()) continue;
      EXPECT_EQ(kMayInclude.at(source.folder()).count(folder), 1u)
          << at(source, include) << ": " << source.folder() << " knows nothing of " << folder;
    }
}

TEST(Structure, QuotedIncludesExistAndStartAtTheRoot) {
  for (const Source& source : sources())
    for (const Include& include : source.includes) {
      if (!include.quoted) continue;
      EXPECT_FALSE(folder_of(include.header).empty()) << at(source, include);
      EXPECT_TRUE(fs::exists(fs::path(HEARTH_SOURCE_DIR) / include.header)) << at(source, include);
    }
}

TEST(Structure, VendorHeadersStayInTheirPlaces) {
  for (const Source& source : sources())
    for (const Include& include : source.includes)
      for (const Vendor& vendor : kVendors) {
        if (!include.header.starts_with(vendor.header)) continue;
        const bool allowed =
            std::any_of(vendor.places.begin(), vendor.places.end(),
                        [&](std::string_view place) { return source.path.starts_with(place); });
        EXPECT_TRUE(allowed) << at(source, include) << " does not belong here";
      }
}

// A program without AVX2 hence differs from others in what `./dev check scalar` builds alone.
TEST(Structure, OnlyKernelsKnowInstructionSets) {
  for (const Source& source : sources()) {
    if (source.folder() == "kernels" || source.path.starts_with("tests/kernels/")) continue;
    for (const Include& include : source.includes)
      EXPECT_FALSE(include.header.starts_with("kernels/cpu/avx") ||
                   include.header == "kernels/cpu/fill.h")
          << at(source, include);
    for (const std::string& line : source.lines)
      EXPECT_FALSE(line.starts_with("#") && line.find("HEARTH_SCALAR_ONLY") != line.npos)
          << source.path << ": " << line;
  }
}

// The parser is large: a header that brought it along would slow down every file that includes it.
TEST(Structure, TheTomlParserStaysInFilesNamedForIt) {
  for (const Source& source : sources())
    for (const Include& include : source.includes) {
      const bool parser = include.header.starts_with("toml++") ||
                          include.header == "profiler/table_toml.h" ||
                          include.header == "profiler/model_identity_toml.h";
      if (!parser || source.folder() == "tests") continue;
      EXPECT_NE(source.path.find("_toml."), source.path.npos) << at(source, include);
    }
}

TEST(Structure, EveryHeaderBeginsWithACommentAndIsIncludedOnce) {
  for (const Source& source : sources()) {
    if (!source.is_header()) continue;
    ASSERT_FALSE(source.lines.empty()) << source.path;
    EXPECT_TRUE(source.lines.front().starts_with("// ")) << source.path << ": say what it is first";
    EXPECT_EQ(std::count(source.lines.begin(), source.lines.end(), "#pragma once"), 1)
        << source.path;
  }
}

TEST(Structure, NoFileIsTooLong) {
  for (const Source& source : sources())
    EXPECT_LE(source.lines.size(), kMostLines) << source.path << " wants splitting";
}

}  // namespace
}  // namespace hearth
