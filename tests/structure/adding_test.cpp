// What one more weight format, KV format, architecture or cache policy touches: the files that name
// those there are. ARCHITECTURE.md and CONTRIBUTING.md promise one file and a line in a list; a
// file of the product that knows one by name breaks that, unless it stands here with its reason.
// tests/adding adds a policy and an architecture, and runs them.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <ostream>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace hearth {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = HEARTH_SOURCE_DIR;

using Paths = std::set<std::string>;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Comments may name what they like.
std::string without_comments(const std::string& source) {
  static const std::regex comment("//[^\n]*");
  return std::regex_replace(source, comment, "");
}

// The sources of the product by path, without comments.
const std::map<std::string, std::string>& product() {
  static const auto all = [] {
    std::map<std::string, std::string> found;
    for (const char* folder : {"base", "io", "kernels", "profiler", "runtime", "tools"})
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
        const std::string extension = entry.path().extension().string();
        static const std::set<std::string> kinds = {".h", ".cpp", ".cu", ".cuh", ".def"};
        if (kinds.count(extension) == 0) continue;
        found[entry.path().lexically_relative(kRoot).generic_string()] =
            without_comments(read(entry.path()));
      }
    return found;
  }();
  return all;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// As a word of its own, and no member of another enum of formats.
bool mentions(const std::string& source, const std::string& word, const std::string& other_enum) {
  for (std::size_t at = source.find(word); at != source.npos; at = source.find(word, at + 1)) {
    const bool begins = at == 0 || !is_word(word[0]) || !is_word(source[at - 1]);
    const char after = at + word.size() < source.size() ? source[at + word.size()] : ' ';
    const bool ends = !is_word(word.back()) || !is_word(after);
    const bool other = !other_enum.empty() && at >= other_enum.size() &&
                       source.compare(at - other_enum.size(), other_enum.size(), other_enum) == 0;
    if (begins && ends && !other) return true;
  }
  return false;
}

struct Added {
  std::vector<std::string> words;  // by which sources can know it
  Paths files;                     // that adding it touches; some need not name it
};

struct Exception {
  std::string file;
  std::set<std::string> of;  // names; empty: of any
  const char* why;
};

struct Kind {
  const char* name;
  const char* list;     // .def
  const char* pattern;  // of a line: two groups
  std::function<Added(const std::string& first, const std::string& second)> added;
  std::vector<Exception> exceptions;
  std::set<std::string> not_added = {};  // first groups: what was there before any
  std::string other_enum = {};
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

// build_qwen3moe or make_lru, without the verb.
std::string subject(const std::string& function) { return function.substr(function.find('_') + 1); }

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {.name = "a weight format",
       .list = "kernels/quant/formats.def",
       .pattern = "WEIGHT_FORMAT\\((\\w+), \"(\\w+)\"",
       .added =
           [](const std::string& name, const std::string& text) {
             const std::string own = "kernels/quant/" + lower(name) + ".h";
             const bool grids = name.starts_with("IQ") && !name.starts_with("IQ4");
             const bool large = name.ends_with("_K") || name == "IQ4_XS";
             const std::string unpack =
                 std::string("kernels/cpu/matmul/") + (grids ? "unpack_grids.h" : "unpack.h");
             const std::string gpu_unpack =
                 std::string("kernels/gpu/") + (grids   ? "unpack_grids.cuh"
                                                : large ? "unpack_k.cuh"
                                                        : "unpack.cuh");
             Added added{.words = {"k" + name, quoted(text)},
                         .files = {own, "kernels/quant/formats.def", "kernels/quant/codecs.h",
                                   unpack, gpu_unpack, "tools/hearth/random_blocks.cpp"}};
             if (grids)
               for (const char* way : {"grid_loads.h", "grid_gathers.h"})
                 added.files.insert(std::string("kernels/cpu/matmul/") + way);
             return added;
           },
       .exceptions =
           {{"kernels/cpu/matmul/tile.h", {}, "codes that are signed, scales that are large"},
            {"kernels/cpu/avx512/wide.h",
             {},
             "four rows side by side; indices that are slow to find"},
            {"kernels/cpu/avx512/four_rows_of_blocks.h",
             {"Q4_K", "Q5_K", "IQ4_XS"},
             "scales of 32"},
            {"kernels/cpu/avx512/four_rows_of_halves.h", {"Q2_K", "Q3_K", "Q6_K"}, "scales of 16"},
            {"kernels/gpu/product.cuh", {"NVFP4"}, "scales that are large"},
            {"tools/hearth/synth_formats.h", {"Q4_K", "Q6_K"}, "what synth makes unless told"},
            {"tools/hearth/synth_formats.cpp",
             {"Q8_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "MXFP4"},
             "the mixes of a quantizer, and what it takes for rows of odd width"},
            {"tools/hearth/doctor_cpu.h", {"Q4_K"}, "the rate that is shown first"}},
       .not_added = {"F32", "F16", "BF16"},
       .other_enum = "KvFormat::"},
      {.name = "a KV format",
       .list = "kernels/kv/formats.def",
       .pattern = "KV_FORMAT\\((\\w+), \"(\\w+)\"",
       .added =
           [](const std::string& name, const std::string& text) {
             return Added{.words = {"KvFormat::k" + name, quoted(text)},
                          .files = {"kernels/kv/formats.def"}};
           },
       .exceptions = {{"kernels/kv/code_tables.h", {"Turbo4", "Turbo3", "Turbo2"}, "their values"}},
       .not_added = {"F32", "F16", "BF16"}},
      {.name = "an architecture",
       .list = "runtime/models/architectures.def",
       .pattern = "ARCHITECTURE\\(\"([^\"]+)\", (\\w+)\\)",
       .added =
           [](const std::string& name, const std::string& build) {
             // Qwen3-Next is Qwen3.5 but for how a tensor is laid out.
             const std::string own = name == "qwen3next" ? "qwen35moe" : subject(build);
             return Added{
                 .words = {quoted(name), build},
                 .files = {"runtime/models/" + own + ".cpp", "runtime/models/architectures.def"}};
           },
       .exceptions = {{"runtime/tokenizer/tokenizer.cpp",
                       {"llama", "gemma4"},
                       "vocabularies that are called as models are"},
                      {"runtime/tokenizer/split_rules.cpp",
                       {"llama4", "minimax-m2"},
                       "rules that are called as models are"}}},
      {.name = "a cache policy",
       .list = "profiler/policies/policies.def",
       .pattern = "CACHE_POLICY\\(\"([^\"]+)\", (\\w+)\\)",
       .added =
           [](const std::string& name, const std::string& make) {
             return Added{.words = {quoted(name), make},
                          .files = {"profiler/policies/" + subject(make) + ".cpp",
                                    "profiler/policies/policies.def"}};
           },
       .exceptions = {{"profiler/policies/registry.cpp", {"forecast"}, "is recommended"},
                      {"profiler/hit_estimate.cpp", {"lru"}, "published rates are of LRU"},
                      {"profiler/profile_check.cpp", {"lru"}, "profiles are judged with LRU"},
                      {"tools/hearth/profile_check.cpp", {"lru"}, "and say so"}}},
  };
  return all;
}

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class Adding : public testing::TestWithParam<Kind> {};

TEST_P(Adding, TouchesTheFilesThatAreNamed) {
  const Kind& kind = GetParam();
  const std::string list = without_comments(read(kRoot / kind.list));
  const std::regex line(kind.pattern);
  std::set<std::string> exceptions_used;
  std::size_t entries = 0;
  for (std::sregex_iterator match(list.begin(), list.end(), line), end; match != end; ++match) {
    const std::string name = (*match)[1];
    if (kind.not_added.count(name) != 0) continue;
    ++entries;
    const Added added = kind.added(name, (*match)[2]);
    Paths naming = {kind.list};
    for (const auto& [path, source] : product())
      for (const std::string& word : added.words)
        if (mentions(source, word, kind.other_enum)) naming.insert(path);
    for (const Exception& exception : kind.exceptions)
      if ((exception.of.empty() || exception.of.count(name) != 0) &&
          naming.erase(exception.file) != 0)
        exceptions_used.insert(exception.file);
    for (const std::string& file : added.files)
      EXPECT_TRUE(fs::exists(kRoot / file)) << name << " wants " << file;
    for (const std::string& file : naming)
      EXPECT_EQ(added.files.count(file), 1u) << file << " knows " << name << ", " << kind.name;
  }
  EXPECT_GE(entries, 7u) << kind.list << " was not understood";
  for (const Exception& exception : kind.exceptions)
    EXPECT_EQ(exceptions_used.count(exception.file), 1u)
        << exception.file << " needs no exception any more (" << exception.why << ")";
}

TEST_P(Adding, IsDescribedWhereNewcomersLook) {
  const std::string guide = read(kRoot / "CONTRIBUTING.md");
  const std::size_t row = guide.find(std::string("| ") + GetParam().name + " |");
  ASSERT_NE(row, guide.npos) << GetParam().name;
  const std::string text = guide.substr(row, guide.find('\n', row) - row);
  EXPECT_NE(text.find(GetParam().list), text.npos) << text;
}

// The search finds what it looks for: a list of no mentions would make every test above pass.
TEST(AddingSearch, FindsWordsAndNoPartsOfWords) {
  EXPECT_TRUE(mentions("x = WeightFormat::kQ4_K;", "kQ4_K", "KvFormat::"));
  EXPECT_FALSE(mentions("x = KvFormat::kQ8_0;", "kQ8_0", "KvFormat::"));
  EXPECT_FALSE(mentions("kQ4_KM, xkQ4_K", "kQ4_K", ""));
  EXPECT_TRUE(mentions("name == \"lru\"", "\"lru\"", ""));
  EXPECT_FALSE(mentions("name == \"slru\"", "\"lru\"", ""));
  EXPECT_EQ(without_comments("a // kQ4_K\nb"), "a \nb");
  EXPECT_TRUE(mentions(product().at("kernels/cpu/matmul/unpack.h"), "kQ4_K", ""));
  EXPECT_GT(product().size(), 200u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Adding, testing::ValuesIn(kinds()), [](const auto& row) {
  std::string name = row.param.name;
  name = name.substr(name.find(' ') + 1);
  for (char& c : name)
    if (c == ' ') c = '_';
  return name;
});

}  // namespace
}  // namespace hearth
